//! A guild, changed from outside the bot.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    Discord, Id, Member,
    gateway::intents,
    permissions, render,
    state::{Channel, GuildState, MemberState, Overwrite, Role, User, World},
};

/// How old the account of an ordinary new member is.
const ACCOUNT_AGE: TimeDelta = TimeDelta::days(730);

/// A guild of the sandbox.
#[derive(Clone, Debug)]
pub struct Guild {
    /// The guild; also the id of its @everyone role.
    pub id: Id,
    pub(crate) discord: Discord,
}

#[expect(clippy::must_use_candidate, reason = "what is made is often looked up by name later")]
impl Guild {
    pub(crate) fn create(discord: &Discord, name: &str, owner: &str) -> Self {
        let id = discord.shared().change(|world| {
            let id = world.clock.mint();
            let owner = world.add_user(owner, false, world.now() - ACCOUNT_AGE);
            let everyone = Role {
                id,
                name: "@everyone".into(),
                permissions: permissions::EVERYONE,
                position: 0,
                color: 0,
                hoist: false,
                mentionable: false,
                bot: None,
            };
            let guild = GuildState {
                id,
                name: name.into(),
                owner,
                roles: BTreeMap::from([(id, everyone)]),
                members: BTreeMap::new(),
                channels: Vec::new(),
                bans: BTreeMap::new(),
                audit_log: Vec::new(),
                unavailable: false,
                incidents: Value::Null,
                open_commands: BTreeSet::new(),
            };
            world.guilds.insert(id, guild);
            world.add_channel(id, "general");
            world.join(id, owner);
            world.add_bot(id);
            id
        });
        Self { id, discord: discord.clone() }
    }

    pub(crate) fn find(discord: &Discord, id: Id) -> Option<Self> {
        let known = discord.shared().read(|world| world.guilds.contains_key(&id));
        known.then(|| Self { id, discord: discord.clone() })
    }

    fn read<T>(&self, look: impl FnOnce(&World, &GuildState) -> T) -> T {
        self.discord.shared().read(|world| look(world, &world.guilds[&self.id]))
    }

    fn change<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        self.discord.shared().change(act)
    }

    /// The guild's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.read(|_, guild| guild.name.clone())
    }

    fn handle(&self, user: Id) -> Member {
        let (name, channel) = self.read(|world, guild| {
            let channel = guild.channels.first().copied();
            (world.user(user).name.clone(), channel.unwrap_or_default())
        });
        Member::new(user, name, self.clone(), channel)
    }

    /// Lets a new user join, whose account is two years old.
    pub fn add_member(&self, name: &str) -> Member {
        self.add_member_aged(name, self.discord.now() - ACCOUNT_AGE)
    }

    /// Lets a new user join, whose account was made at `created`.
    pub fn add_member_aged(&self, name: &str, created: DateTime<Utc>) -> Member {
        self.handle(self.change(|world| {
            let user = world.add_user(name, false, created);
            world.join(self.id, user);
            user
        }))
    }

    /// Lets another bot join.
    pub fn add_bot_user(&self, name: &str) -> Member {
        self.handle(self.change(|world| {
            let user = world.add_user(name, true, world.now() - ACCOUNT_AGE);
            world.join(self.id, user);
            user
        }))
    }

    /// Lets someone who is known already join here, or join again.
    pub fn join(&self, member: &Member) -> Member {
        self.change(|world| world.join(self.id, member.id));
        self.handle(member.id)
    }

    /// A member by username, nickname, display name or id.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Member> {
        let found = self.read(|world, guild| world.member_named(guild, name));
        found.map(|id| self.handle(id))
    }

    /// All members, the bot among them.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let ids: Vec<Id> = self.read(|_, guild| guild.members.keys().copied().collect());
        ids.into_iter().map(|id| self.handle(id)).collect()
    }

    /// The owner.
    #[must_use]
    pub fn owner(&self) -> Member {
        self.handle(self.read(|_, guild| guild.owner))
    }

    /// Makes a role at a position (1 is the lowest above @everyone); those at it and above move up.
    pub fn add_role(&self, name: &str, permissions: u64, position: u16) -> Id {
        self.change(|world| world.add_role(self.id, name, permissions, position, None))
    }

    /// A role by its name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<Id> {
        self.read(|_, guild| {
            guild.roles.values().find(|role| role.name == name).map(|role| role.id)
        })
    }

    /// The role that Discord made for the bot when it joined.
    #[must_use]
    pub fn bot_role(&self) -> Option<Id> {
        self.read(|world, guild| {
            guild.roles.values().find(|role| role.bot == Some(world.bot)).map(|role| role.id)
        })
    }

    /// Gives a role.
    pub fn give_role(&self, member: &Member, role: Id) {
        self.change(|world| world.set_role(self.id, member.id, role, true));
    }

    /// Takes a role.
    pub fn take_role(&self, member: &Member, role: Id) {
        self.change(|world| world.set_role(self.id, member.id, role, false));
    }

    /// A member's roles, without @everyone.
    #[must_use]
    pub fn roles_of(&self, member: &Member) -> BTreeSet<Id> {
        let roles =
            self.read(|_, guild| guild.members.get(&member.id).map(|one| one.roles.clone()));
        roles.unwrap_or_default()
    }

    /// Deletes a role.
    pub fn delete_role(&self, role: Id) {
        self.change(|world| world.delete_role(self.id, role));
    }

    /// Changes what a role may do.
    pub fn set_role_permissions(&self, role: Id, permissions: u64) {
        self.change(|world| world.edit_role(self.id, role, |role| role.permissions = permissions));
    }

    /// Moves the bot's role.
    pub fn move_bot_role(&self, position: u16) {
        if let Some(role) = self.bot_role() {
            self.change(|world| world.move_role(self.id, role, position));
        }
    }

    /// Makes a text channel.
    pub fn add_channel(&self, name: &str) -> Id {
        self.change(|world| world.add_channel(self.id, name))
    }

    /// A channel by its name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<Id> {
        self.read(|world, guild| {
            guild.channels.iter().copied().find(|id| world.channels[id].name == name)
        })
    }

    /// Deletes a channel.
    pub fn delete_channel(&self, channel: Id) {
        self.change(|world| world.delete_channel(channel));
    }

    /// The audit log's entries as Discord gives them, the oldest first.
    #[must_use]
    pub fn audit_log(&self) -> Vec<Value> {
        self.read(|_, guild| guild.audit_log.clone())
    }

    /// Who is banned.
    #[must_use]
    pub fn banned(&self) -> BTreeSet<Id> {
        self.read(|_, guild| guild.bans.keys().copied().collect())
    }

    /// Lets a member leave.
    pub fn remove_member(&self, member: &Member) {
        self.change(|world| world.leave(self.id, member.id));
    }

    /// Sets what a role or a member may and may not in a channel.
    pub fn set_overwrite(&self, channel: Id, role_or_member: Id, allow: u64, deny: u64) {
        self.change(|world| {
            let kind = u8::from(!world.guilds[&self.id].roles.contains_key(&role_or_member));
            let overwrite = Overwrite { kind, allow, deny };
            world.edit_channel(channel, |channel| {
                channel.overwrites.insert(role_or_member, overwrite);
            });
        });
    }

    /// Removes the bot from the guild, as its owner would.
    pub fn remove(&self) {
        self.change(|world| world.remove_bot(self.id));
    }

    /// Adds the bot again, with a new role of its own.
    pub fn add_bot(&self) {
        self.change(|world| world.add_bot(self.id));
    }

    /// Opens a command to every member, as an admin can in the guild's settings, whatever its
    /// `default_member_permissions` say.
    pub fn open_command(&self, name: &str) {
        self.change(|world| world.guild_mut(self.id).open_commands.insert(name.to_owned()));
    }

    /// Begins or ends an outage of the guild.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.change(|world| {
            world.guild_mut(self.id).unavailable = unavailable;
            if unavailable {
                let data = json!({ "id": self.id.to_string(), "unavailable": true });
                world.dispatch("GUILD_DELETE", Some(self.id), intents::GUILDS, &data);
            } else {
                world.dispatch_guild_create(self.id);
            }
        });
    }
}

impl GuildState {
    pub(crate) fn member_mut(&mut self, user: Id) -> &mut MemberState {
        self.members.get_mut(&user).expect("who asks has just seen the member")
    }
}

impl World {
    pub(crate) fn guild_mut(&mut self, id: Id) -> &mut GuildState {
        self.guilds.get_mut(&id).expect("guilds are never forgotten")
    }

    pub(crate) fn add_user(&mut self, name: &str, bot: bool, created: DateTime<Utc>) -> Id {
        let id = self.clock.mint_at(created);
        let user =
            User { id, name: name.into(), global_name: None, avatar: None, bot, dms_open: true };
        self.users.insert(id, user);
        id
    }

    /// Makes a user a member; nothing happens to who is one.
    pub(crate) fn join(&mut self, guild: Id, user: Id) {
        let member = MemberState {
            nick: None,
            roles: BTreeSet::new(),
            joined_at: self.now(),
            timeout_until: None,
            deaf: false,
            mute: false,
        };
        let members = &mut self.guild_mut(guild).members;
        if members.contains_key(&user) {
            return;
        }
        members.insert(user, member);
        if user == self.bot {
            return;
        }
        let mut data = render::member(self, &self.guilds[&guild], user);
        data["guild_id"] = guild.to_string().into();
        self.dispatch("GUILD_MEMBER_ADD", Some(guild), intents::GUILD_MEMBERS, &data);
    }

    pub(crate) fn leave(&mut self, guild: Id, user: Id) {
        if self.guild_mut(guild).members.remove(&user).is_some() {
            let data = json!({
                "guild_id": guild.to_string(),
                "user": render::user(self.user(user)),
            });
            self.dispatch("GUILD_MEMBER_REMOVE", Some(guild), intents::GUILD_MEMBERS, &data);
        }
    }

    /// Makes the bot a member with its managed role, as an invite does.
    fn add_bot(&mut self, guild: Id) {
        let bot = self.bot;
        if self.guilds[&guild].members.contains_key(&bot) {
            return;
        }
        let name = self.user(bot).name.clone();
        let role = self.add_role(guild, &name, permissions::BOT, 1, Some(bot));
        self.join(guild, bot);
        self.guild_mut(guild).member_mut(bot).roles.insert(role);
        self.dispatch_guild_create(guild);
    }

    /// The bot is no member any more, its role goes, and it hears nothing of the guild.
    pub(crate) fn remove_bot(&mut self, guild: Id) {
        let data = json!({ "id": guild.to_string() });
        self.dispatch("GUILD_DELETE", Some(guild), intents::GUILDS, &data);
        let bot = self.bot;
        let state = self.guild_mut(guild);
        state.members.remove(&bot);
        state.roles.retain(|_, role| role.bot != Some(bot));
    }

    /// Tells of a changed member. The bot hears of itself without the members intent too.
    pub(crate) fn dispatch_member_update(&mut self, guild: Id, user: Id) {
        let mut data = render::member(self, &self.guilds[&guild], user);
        data["guild_id"] = guild.to_string().into();
        let needs = if user == self.bot { 0 } else { intents::GUILD_MEMBERS };
        self.dispatch("GUILD_MEMBER_UPDATE", Some(guild), needs, &data);
    }

    /// Gives or takes a role; nothing is told where nothing changed.
    pub(crate) fn set_role(&mut self, guild: Id, user: Id, role: Id, given: bool) {
        let Some(member) = self.guild_mut(guild).members.get_mut(&user) else { return };
        let changed = if given { member.roles.insert(role) } else { member.roles.remove(&role) };
        if changed {
            self.dispatch_member_update(guild, user);
        }
    }

    pub(crate) fn add_role(
        &mut self,
        guild: Id,
        name: &str,
        permissions: u64,
        position: u16,
        bot: Option<Id>,
    ) -> Id {
        let id = self.clock.mint();
        let state = self.guild_mut(guild);
        let top = u16::try_from(state.roles.len()).expect("a guild has at most 250 roles");
        let role = Role {
            id,
            name: name.into(),
            permissions,
            position: top,
            color: 0,
            hoist: false,
            mentionable: false,
            bot,
        };
        let shown = render::role(&role);
        state.roles.insert(id, role);
        let data = json!({ "guild_id": guild.to_string(), "role": shown });
        self.dispatch("GUILD_ROLE_CREATE", Some(guild), intents::GUILDS, &data);
        self.move_role(guild, id, position);
        id
    }

    /// Puts a role at a position and numbers all anew.
    pub(crate) fn move_role(&mut self, guild: Id, role: Id, position: u16) {
        let state = self.guild_mut(guild);
        let mut order: Vec<_> = state
            .roles
            .values()
            .filter(|other| other.id != state.id && other.id != role)
            .map(|other| (other.rank(), other.id))
            .collect();
        order.sort();
        let at = usize::from(position.max(1) - 1).min(order.len());
        let mut order: Vec<Id> = order.into_iter().map(|(_, id)| id).collect();
        order.insert(at, role);
        for (position, id) in (1..).zip(order) {
            if state.roles[&id].position != position {
                state.roles.get_mut(&id).expect("just listed").position = position;
            }
        }
        self.dispatch_roles(guild);
    }

    fn dispatch_roles(&mut self, guild: Id) {
        let roles: Vec<Id> = self.guilds[&guild].roles.keys().copied().collect();
        for role in roles {
            self.dispatch_role_update(guild, role);
        }
    }

    fn dispatch_role_update(&mut self, guild: Id, role: Id) {
        let shown = render::role(&self.guilds[&guild].roles[&role]);
        let data = json!({ "guild_id": guild.to_string(), "role": shown });
        self.dispatch("GUILD_ROLE_UPDATE", Some(guild), intents::GUILDS, &data);
    }

    pub(crate) fn edit_role(&mut self, guild: Id, role: Id, change: impl FnOnce(&mut Role)) {
        if let Some(state) = self.guild_mut(guild).roles.get_mut(&role) {
            change(state);
            self.dispatch_role_update(guild, role);
        }
    }

    pub(crate) fn delete_role(&mut self, guild: Id, role: Id) {
        let state = self.guild_mut(guild);
        if state.roles.remove(&role).is_none() {
            return;
        }
        for member in state.members.values_mut() {
            member.roles.remove(&role);
        }
        let data = json!({ "guild_id": guild.to_string(), "role_id": role.to_string() });
        self.dispatch("GUILD_ROLE_DELETE", Some(guild), intents::GUILDS, &data);
    }

    pub(crate) fn add_channel(&mut self, guild: Id, name: &str) -> Id {
        let id = self.clock.mint();
        let channel = Channel {
            id,
            kind: 0,
            guild: Some(guild),
            name: name.into(),
            topic: None,
            parent: None,
            position: self.guilds[&guild].channels.len(),
            slow_mode: 0,
            recipient: None,
            overwrites: BTreeMap::new(),
        };
        let data = render::channel(self, &channel);
        self.channels.insert(id, channel);
        self.guild_mut(guild).channels.push(id);
        self.dispatch("CHANNEL_CREATE", Some(guild), intents::GUILDS, &data);
        id
    }

    pub(crate) fn edit_channel(&mut self, channel: Id, change: impl FnOnce(&mut Channel)) {
        let Some(state) = self.channels.get_mut(&channel) else { return };
        change(state);
        let state = &self.channels[&channel];
        let (guild, data) = (state.guild, render::channel(self, state));
        self.dispatch("CHANNEL_UPDATE", guild, intents::GUILDS, &data);
    }

    pub(crate) fn delete_channel(&mut self, channel: Id) {
        let Some(state) = self.channels.get(&channel) else { return };
        let (guild, data) = (state.guild, render::channel(self, state));
        self.channels.remove(&channel);
        if let Some(guild) = guild {
            self.guild_mut(guild).channels.retain(|id| *id != channel);
        }
        self.dispatch("CHANNEL_DELETE", guild, intents::GUILDS, &data);
    }
}

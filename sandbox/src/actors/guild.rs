//! A guild, changed from outside the bot.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    Discord, Id, Member,
    gateway::intents,
    permissions,
    state::{
        GuildState, Overwrite, Role, World,
        channel_type::{CATEGORY, PUBLIC_THREAD, TEXT},
    },
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
                emojis: Vec::new(),
                open_commands: BTreeSet::new(),
            };
            world.guilds.insert(id, guild);
            world.add_channel(id, "general", TEXT, None);
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

    /// Adds an emoji that everyone can use, or only who has one of the roles.
    pub fn add_emoji(&self, name: &str, animated: bool, roles: &[Id]) -> Id {
        self.change(|world| {
            let id = world.clock.mint();
            let roles: Vec<String> = roles.iter().map(Id::to_string).collect();
            let emoji = json!({
                "id": id.to_string(),
                "name": name,
                "roles": roles,
                "require_colons": true,
                "managed": false,
                "animated": animated,
                "available": true,
            });
            let emojis = &mut world.guild_mut(self.id).emojis;
            emojis.push(emoji);
            let data = json!({ "guild_id": self.id.to_string(), "emojis": emojis });
            let needs = intents::GUILD_EXPRESSIONS;
            world.dispatch("GUILD_EMOJIS_UPDATE", Some(self.id), needs, &data);
            id
        })
    }

    /// Makes a text channel.
    pub fn add_channel(&self, name: &str) -> Id {
        self.change(|world| world.add_channel(self.id, name, TEXT, None))
    }

    /// Makes a category.
    pub fn add_category(&self, name: &str) -> Id {
        self.change(|world| world.add_channel(self.id, name, CATEGORY, None))
    }

    /// Makes a text channel in a category.
    pub fn add_channel_in(&self, category: Id, name: &str) -> Id {
        self.change(|world| world.add_channel(self.id, name, TEXT, Some(category)))
    }

    /// Makes a public thread under a text channel.
    pub fn add_thread(&self, parent: Id, name: &str) -> Id {
        self.change(|world| world.add_channel(self.id, name, PUBLIC_THREAD, Some(parent)))
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

    /// Writes an entry of any action type to the audit log, as of another bot or of Discord itself
    /// (then without a `user`), and tells the bot of it.
    pub fn log(&self, action: u8, user: Option<Id>, target: Option<Id>, reason: Option<&str>) {
        self.change(|world| {
            let id = world.clock.mint();
            let text = |id: Option<Id>| id.map(|id| id.to_string());
            let mut entry = json!({
                "id": id.to_string(),
                "action_type": action,
                "user_id": text(user),
                "target_id": text(target),
            });
            if let Some(reason) = reason {
                entry["reason"] = reason.into();
            }
            world.write_log(self.id, entry);
        });
    }

    /// Adds a link's preview to a message: an update that is not an edit.
    pub fn preview_link(&self, message: Id, title: &str) {
        self.change(|world| world.preview_link(message, title));
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

//! How guilds change: members, roles and channels, each with the events it causes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    Id,
    gateway::intents,
    permissions, render,
    state::{Channel, GuildState, MemberState, Role, User, World},
};

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
    pub(crate) fn add_bot(&mut self, guild: Id) {
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
        let mut moved = Vec::new();
        for (position, id) in (1..).zip(order) {
            let role = state.roles.get_mut(&id).expect("just listed");
            if role.position != position {
                role.position = position;
                moved.push(id);
            }
        }
        for role in moved {
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

    pub(crate) fn add_channel(
        &mut self,
        guild: Id,
        name: &str,
        kind: u64,
        parent: Option<Id>,
    ) -> Id {
        let id = self.clock.mint();
        let channel = Channel {
            id,
            kind,
            guild: Some(guild),
            name: name.into(),
            topic: None,
            parent,
            position: self.guilds[&guild].channels.len(),
            slow_mode: 0,
            recipient: None,
            overwrites: BTreeMap::new(),
        };
        let data = render::channel(self, &channel);
        self.channels.insert(id, channel);
        self.guild_mut(guild).channels.push(id);
        self.dispatch_channel("CREATE", id, Some(guild), &data);
        id
    }

    pub(crate) fn edit_channel(&mut self, channel: Id, change: impl FnOnce(&mut Channel)) {
        let Some(state) = self.channels.get_mut(&channel) else { return };
        change(state);
        let state = &self.channels[&channel];
        let (guild, data) = (state.guild, render::channel(self, state));
        self.dispatch_channel("UPDATE", channel, guild, &data);
    }

    pub(crate) fn delete_channel(&mut self, channel: Id) {
        let Some(state) = self.channels.get(&channel) else { return };
        let (guild, data) = (state.guild, render::channel(self, state));
        self.dispatch_channel("DELETE", channel, guild, &data);
        self.channels.remove(&channel);
        if let Some(guild) = guild {
            self.guild_mut(guild).channels.retain(|id| *id != channel);
        }
    }

    fn dispatch_channel(&mut self, what: &str, channel: Id, guild: Option<Id>, data: &Value) {
        let kind = if self.channels[&channel].is_thread() { "THREAD" } else { "CHANNEL" };
        self.dispatch(&format!("{kind}_{what}"), guild, intents::GUILDS, data);
    }

    /// Changes a user, and tells every guild they are in.
    pub(crate) fn edit_user(&mut self, user: Id, change: impl FnOnce(&mut User)) {
        change(self.users.get_mut(&user).expect("users are never forgotten"));
        let of = |guild: &&GuildState| guild.members.contains_key(&user);
        let guilds: Vec<Id> = self.guilds.values().filter(of).map(|guild| guild.id).collect();
        for guild in guilds {
            self.dispatch_member_update(guild, user);
        }
    }
}

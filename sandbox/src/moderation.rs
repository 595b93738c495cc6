//! What moderators do, be they people or the bot: who may, what changes, what the audit log says.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    Id,
    clock::created_at,
    gateway::intents,
    permissions::{
        ADMINISTRATOR, BAN_MEMBERS, KICK_MEMBERS, MANAGE_ROLES, MODERATE_MEMBERS, VIEW_AUDIT_LOG,
    },
    problem::Problem,
    render::{self, timestamp},
    rest::message_intent,
    state::World,
};

/// The longest timeout.
const LONGEST_TIMEOUT: TimeDelta = TimeDelta::days(28);

/// The audit log's action types, by Discord's numbers.
pub(crate) mod action {
    pub(crate) const GUILD_UPDATE: u8 = 1;
    pub(crate) const CHANNEL_CREATE: u8 = 10;
    pub(crate) const CHANNEL_UPDATE: u8 = 11;
    pub(crate) const CHANNEL_DELETE: u8 = 12;
    pub(crate) const OVERWRITE_UPDATE: u8 = 14;
    pub(crate) const OVERWRITE_DELETE: u8 = 15;
    pub(crate) const MEMBER_KICK: u8 = 20;
    pub(crate) const MEMBER_BAN_ADD: u8 = 22;
    pub(crate) const MEMBER_BAN_REMOVE: u8 = 23;
    pub(crate) const MEMBER_UPDATE: u8 = 24;
    pub(crate) const MEMBER_ROLE_UPDATE: u8 = 25;
    pub(crate) const ROLE_CREATE: u8 = 30;
    pub(crate) const ROLE_UPDATE: u8 = 31;
    pub(crate) const ROLE_DELETE: u8 = 32;
    pub(crate) const MESSAGE_DELETE: u8 = 72;
    pub(crate) const MESSAGE_BULK_DELETE: u8 = 73;
}

/// One act by one member of a guild.
#[derive(Clone, Copy)]
pub(crate) struct By<'a> {
    pub(crate) guild: Id,
    pub(crate) actor: Id,
    pub(crate) reason: Option<&'a str>,
}

impl World {
    /// Refuses who lacks a permission in the guild.
    pub(crate) fn demand(&self, guild: Id, actor: Id, permission: u64) -> Result<(), Problem> {
        if self.guilds[&guild].permissions(actor) & permission == permission {
            Ok(())
        } else {
            Err(Problem::missing_permissions())
        }
    }

    fn demand_rank(&self, by: By<'_>, target: Id) -> Result<(), Problem> {
        if self.guilds[&by.guild].outranks(by.actor, target) {
            Ok(())
        } else {
            Err(Problem::missing_permissions())
        }
    }

    /// Writes the audit log, and tells those who may read it.
    pub(crate) fn audit(
        &mut self,
        by: By<'_>,
        action: u8,
        target: Id,
        changes: Value,
        options: Value,
    ) {
        let mut entry = json!({
            "id": self.clock.mint().to_string(),
            "user_id": by.actor.to_string(),
            "target_id": target.to_string(),
            "action_type": action,
        });
        for (key, value) in [("changes", changes), ("options", options)] {
            if !value.is_null() {
                entry[key] = value;
            }
        }
        if let Some(reason) = by.reason {
            entry["reason"] = reason.into();
        }
        self.guild_mut(by.guild).audit_log.push(entry.clone());
        if self.guilds[&by.guild].permissions(self.bot) & VIEW_AUDIT_LOG != 0 {
            entry["guild_id"] = by.guild.to_string().into();
            let needs = intents::GUILD_MODERATION;
            self.dispatch("GUILD_AUDIT_LOG_ENTRY_CREATE", Some(by.guild), needs, &entry);
        }
    }

    pub(crate) fn kick(&mut self, by: By<'_>, target: Id) -> Result<(), Problem> {
        self.demand(by.guild, by.actor, KICK_MEMBERS)?;
        if !self.guilds[&by.guild].members.contains_key(&target) {
            return Err(Problem::unknown_member());
        }
        self.demand_rank(by, target)?;
        self.leave(by.guild, target);
        self.audit(by, action::MEMBER_KICK, target, Value::Null, Value::Null);
        Ok(())
    }

    /// Bans also who is not a member; a second ban changes nothing.
    pub(crate) fn ban(
        &mut self,
        by: By<'_>,
        target: Id,
        delete_seconds: i64,
    ) -> Result<(), Problem> {
        self.demand(by.guild, by.actor, BAN_MEMBERS)?;
        if !self.users.contains_key(&target) {
            return Err(Problem::unknown_user());
        }
        let guild = &self.guilds[&by.guild];
        if guild.members.contains_key(&target) {
            self.demand_rank(by, target)?;
        }
        if guild.bans.contains_key(&target) {
            return Ok(());
        }
        let channels = guild.channels.clone();
        self.guild_mut(by.guild).bans.insert(target, by.reason.map(str::to_owned));
        self.leave(by.guild, target);
        self.dispatch_ban("GUILD_BAN_ADD", by.guild, target);
        self.audit(by, action::MEMBER_BAN_ADD, target, Value::Null, Value::Null);
        let since = self.now() - TimeDelta::seconds(delete_seconds);
        for channel in channels {
            let theirs = self.messages.in_channel(channel).filter(|one| {
                one.author == target && created_at(one.id) > since && one.only_for.is_none()
            });
            let theirs: Vec<Id> = theirs.map(|one| one.id).collect();
            self.delete_many(channel, &theirs);
        }
        Ok(())
    }

    pub(crate) fn unban(&mut self, by: By<'_>, target: Id) -> Result<(), Problem> {
        self.demand(by.guild, by.actor, BAN_MEMBERS)?;
        if self.guild_mut(by.guild).bans.remove(&target).is_none() {
            return Err(Problem::unknown_ban());
        }
        self.dispatch_ban("GUILD_BAN_REMOVE", by.guild, target);
        self.audit(by, action::MEMBER_BAN_REMOVE, target, Value::Null, Value::Null);
        Ok(())
    }

    fn dispatch_ban(&mut self, event: &str, guild: Id, target: Id) {
        let data =
            json!({ "guild_id": guild.to_string(), "user": render::user(self.user(target)) });
        self.dispatch(event, Some(guild), intents::GUILD_MODERATION, &data);
    }

    /// Times a member out until then, or ends the timeout.
    pub(crate) fn time_out(
        &mut self,
        by: By<'_>,
        target: Id,
        until: Option<DateTime<Utc>>,
    ) -> Result<(), Problem> {
        self.demand(by.guild, by.actor, MODERATE_MEMBERS)?;
        if !self.guilds[&by.guild].members.contains_key(&target) {
            return Err(Problem::unknown_member());
        }
        self.demand_rank(by, target)?;
        if self.guilds[&by.guild].permissions(target) & ADMINISTRATOR != 0 {
            return Err(Problem::missing_permissions());
        }
        let now = self.now();
        if until.is_some_and(|until| until > now + LONGEST_TIMEOUT) {
            return Err(Problem::invalid(
                "communication_disabled_until",
                "INVALID_COMMUNICATION_DISABLED_TIMESTAMP",
                "Communication disabled timestamp must be within 28 days.",
            ));
        }
        let until = until.filter(|until| *until > now);
        let member = self.guild_mut(by.guild).member_mut(target);
        let old = std::mem::replace(&mut member.timeout_until, until);
        if old == until {
            return Ok(());
        }
        let change =
            change("communication_disabled_until", old.map(timestamp), until.map(timestamp));
        self.dispatch_member_update(by.guild, target);
        self.audit(by, action::MEMBER_UPDATE, target, json!([change]), Value::Null);
        Ok(())
    }

    /// Roles are given and taken by who may manage them and stands above them; a bot's own and
    /// @everyone by nobody.
    pub(crate) fn may_give(&self, by: By<'_>, role: Id) -> Result<(), Problem> {
        self.demand(by.guild, by.actor, MANAGE_ROLES)?;
        let guild = &self.guilds[&by.guild];
        let role = guild.roles.get(&role).ok_or_else(Problem::unknown_role)?;
        let above = by.actor == guild.owner || role.rank() < guild.rank(by.actor);
        if role.bot.is_some() || role.id == guild.id || !above {
            return Err(Problem::missing_permissions());
        }
        Ok(())
    }

    /// Gives and takes roles so that the member has just these.
    pub(crate) fn set_roles(
        &mut self,
        by: By<'_>,
        target: Id,
        roles: &BTreeSet<Id>,
    ) -> Result<(), Problem> {
        let guild = &self.guilds[&by.guild];
        let old = &guild.members.get(&target).ok_or_else(Problem::unknown_member)?.roles;
        let (added, removed): (Vec<Id>, Vec<Id>) =
            (roles.difference(old).copied().collect(), old.difference(roles).copied().collect());
        for role in added.iter().chain(&removed) {
            self.may_give(by, *role)?;
        }
        if added.is_empty() && removed.is_empty() {
            return Ok(());
        }
        let names = |ids: &[Id]| -> Value {
            let named = |id: &Id| json!({ "id": id.to_string(), "name": guild.roles[id].name });
            ids.iter().map(named).collect()
        };
        let mut changes = Vec::new();
        for (key, ids) in [("$add", &added), ("$remove", &removed)] {
            if !ids.is_empty() {
                changes.push(json!({ "key": key, "new_value": names(ids) }));
            }
        }
        self.guild_mut(by.guild).member_mut(target).roles.clone_from(roles);
        self.dispatch_member_update(by.guild, target);
        self.audit(by, action::MEMBER_ROLE_UPDATE, target, changes.into(), Value::Null);
        Ok(())
    }

    /// Deletes messages of one channel at once.
    pub(crate) fn delete_many(&mut self, channel: Id, messages: &[Id]) {
        if messages.is_empty() {
            return;
        }
        for id in messages {
            let turn = self.messages.get(*id).and_then(|message| message.turn);
            self.messages.delete(*id);
            self.touch(turn);
        }
        let Some(guild) = self.channels.get(&channel).and_then(|channel| channel.guild) else {
            return;
        };
        let ids: Vec<_> = messages.iter().map(Id::to_string).collect();
        let data = json!({
            "ids": ids,
            "channel_id": channel.to_string(),
            "guild_id": guild.to_string(),
        });
        let needs = message_intent(Some(guild));
        self.dispatch("MESSAGE_DELETE_BULK", Some(guild), needs, &data);
    }
}

/// A change as the audit log lists it.
pub(crate) fn change(key: &str, old: Option<Value>, new: Option<Value>) -> Value {
    let mut change = json!({ "key": key });
    for (key, value) in [("old_value", old), ("new_value", new)] {
        if let Some(value) = value {
            change[key] = value;
        }
    }
    change
}

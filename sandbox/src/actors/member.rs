//! A member: what they do, and what they see.

use serde_json::{Value, json};

use super::{
    Guild, Refused,
    line::{Resolved, Typist},
    refuse,
};
use crate::{
    Change, Id, Interaction, Seen,
    interactions::Act,
    permissions::{ATTACH_FILES, MANAGE_MESSAGES},
    render,
    rest::{Draft, Place},
    state::{Happened, Message, World},
    view::walk,
};

/// Someone in a guild, who acts in one of its channels.
#[derive(Clone, Debug)]
pub struct Member {
    /// The user.
    pub id: Id,
    /// The username.
    pub name: String,
    /// The guild.
    pub guild: Guild,
    channel: Id,
}

/// A choice that an autocomplete offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What the member reads.
    pub name: String,
    /// What the bot gets.
    pub value: Value,
}

#[expect(clippy::must_use_candidate, reason = "members mostly speak for the effect")]
impl Member {
    pub(super) fn new(id: Id, name: String, guild: Guild, channel: Id) -> Self {
        Self { id, name, guild, channel }
    }

    /// The same member, acting in another channel.
    #[must_use]
    pub fn in_channel(&self, channel: Id) -> Self {
        Self { channel, ..self.clone() }
    }

    /// The same member, acting in the DM with the bot.
    #[must_use]
    pub fn in_dm(&self) -> Self {
        self.in_channel(self.change(|world| world.dm_with(self.id)))
    }

    /// Where this handle acts.
    #[must_use]
    pub fn channel(&self) -> Id {
        self.channel
    }

    fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        self.guild.discord.shared().read(look)
    }

    fn change<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        self.guild.discord.shared().change(act)
    }

    /// Begins the interaction whose data `prepare` finds in the world as it is.
    fn act(
        &self,
        kind: u8,
        prepare: impl FnOnce(&World) -> Result<(Value, Id, Option<Id>), Refused>,
    ) -> Result<Interaction, Refused> {
        let begun = self.change(|world| {
            let (data, channel, source) = prepare(world)?;
            Ok(world.begin(Act { kind, user: self.id, channel, data, source }))
        })?;
        Ok(Interaction::new(&self.guild.discord, begun))
    }

    fn typist<'a>(&self, world: &'a World) -> Result<Typist<'a>, Refused> {
        let guild = world.guild(self.guild.id).filter(|guild| guild.members.contains_key(&self.id));
        match guild {
            Some(guild) => Ok(Typist { world, guild, user: self.id, channel: self.channel }),
            None => refuse(format!("{} is not in the guild.", self.name)),
        }
    }

    /// Sends a slash command, typed as `/bytes send member:bob reason:"for tea"`.
    ///
    /// # Errors
    /// When Discord's client would not send it: no such command or option, a value that does not
    /// fit, a missing one, or a command this member may not see.
    pub fn slash(&self, line: &str) -> Result<Interaction, Refused> {
        self.act(2, |world| Ok((self.typist(world)?.read(line, false)?, self.channel, None)))
    }

    /// What the bot offers for the last option of a line that is still being typed.
    ///
    /// # Errors
    /// When the client would not ask, or the bot gave nothing in time.
    pub async fn complete(&self, partial_line: &str) -> Result<Vec<Choice>, Refused> {
        let interaction = self.act(4, |world| {
            Ok((self.typist(world)?.read(partial_line, true)?, self.channel, None))
        })?;
        let Some(choices) = interaction.choices().await else {
            return refuse("Loading options failed.");
        };
        let choices = choices.as_array().cloned().unwrap_or_default();
        let choice = |one: &Value| Choice {
            name: one["name"].as_str().unwrap_or_default().to_owned(),
            value: one["value"].clone(),
        };
        Ok(choices.iter().map(choice).collect())
    }

    /// Opens another member's menu and picks an entry.
    ///
    /// # Errors
    /// When there is no such entry for this member.
    pub fn user_menu(&self, name: &str, target: &Member) -> Result<Interaction, Refused> {
        self.act(2, |world| {
            let typist = self.typist(world)?;
            let command = typist.command(2, name)?;
            let mut resolved = Resolved::default();
            resolved.user(&typist, target.id);
            Ok((menu_data(command, 2, target.id, &resolved), self.channel, None))
        })
    }

    /// Opens a message's menu and picks an entry.
    ///
    /// # Errors
    /// When there is no such entry for this member, or no such message.
    pub fn message_menu(&self, name: &str, message: Id) -> Result<Interaction, Refused> {
        self.act(2, |world| {
            let typist = self.typist(world)?;
            let command = typist.command(3, name)?;
            let Some(target) = world.messages.get(message).filter(|one| world.sees(self.id, one))
            else {
                return refuse(format!("{} sees no such message.", self.name));
            };
            let mut resolved = Resolved::default();
            resolved.put("messages", &message.to_string(), render::message(world, target));
            Ok((menu_data(command, 3, message, &resolved), target.channel, None))
        })
    }

    /// Presses a button, by its label or `custom_id`, on the newest message that has it.
    ///
    /// # Errors
    /// When no message shows such a button, or it is disabled or a link.
    pub fn press(&self, label_or_custom_id: &str) -> Result<Interaction, Refused> {
        self.press_where(label_or_custom_id, |_| true)
    }

    /// Presses a button on that message.
    ///
    /// # Errors
    /// As [`Member::press`].
    pub fn press_on(&self, message: Id, label_or_custom_id: &str) -> Result<Interaction, Refused> {
        self.press_where(label_or_custom_id, |one| one.id == message)
    }

    fn press_where(
        &self,
        wanted: &str,
        on: impl Fn(&Message) -> bool,
    ) -> Result<Interaction, Refused> {
        self.act(3, |world| {
            let is_button = |one: &Value| one["type"] == 2 && named(one, wanted, &["label"]);
            let Some((message, button)) = self.find_component(world, on, is_button) else {
                return refuse(format!("{} sees no button \"{wanted}\".", self.name));
            };
            if button["disabled"] == true {
                return refuse(format!("The button \"{wanted}\" is disabled."));
            }
            let Some(custom_id) = button["custom_id"].as_str() else {
                return refuse(format!("The button \"{wanted}\" is a link."));
            };
            let data = json!({ "component_type": 2, "custom_id": custom_id, "id": button["id"] });
            Ok((data, message.channel, Some(message.id)))
        })
    }

    /// Chooses in a select menu, found by its `custom_id` or placeholder on the newest message
    /// that has it. Values of a string select are given by label or value, others as in a line.
    ///
    /// # Errors
    /// When no message shows such a menu, it is disabled, or the values do not fit.
    pub fn select(
        &self,
        custom_id_or_placeholder: &str,
        values: &[&str],
    ) -> Result<Interaction, Refused> {
        let wanted = custom_id_or_placeholder;
        self.act(3, |world| {
            let is_select = |one: &Value| {
                matches!(one["type"].as_u64(), Some(3 | 5..=8))
                    && named(one, wanted, &["placeholder"])
            };
            let Some((message, menu)) = self.find_component(world, |_| true, is_select) else {
                return refuse(format!("{} sees no menu \"{wanted}\".", self.name));
            };
            if menu["disabled"] == true {
                return refuse(format!("The menu \"{wanted}\" is disabled."));
            }
            let least = menu["min_values"].as_u64().unwrap_or(1);
            let most = menu["max_values"].as_u64().unwrap_or(1);
            if !(least..=most).contains(&(values.len() as u64)) {
                return refuse(format!("The menu \"{wanted}\" takes {least} to {most} values."));
            }
            let typist = self.typist(world)?;
            let mut resolved = Resolved::default();
            let chosen = values
                .iter()
                .map(|value| typist.chosen(menu, value, &mut resolved))
                .collect::<Result<Vec<_>, _>>()?;
            let mut data = json!({
                "component_type": menu["type"],
                "custom_id": menu["custom_id"],
                "id": menu["id"],
                "values": chosen,
            });
            if !resolved.0.is_empty() {
                data["resolved"] = Value::Object(resolved.0);
            }
            Ok((data, message.channel, Some(message.id)))
        })
    }

    fn find_component<'a>(
        &self,
        world: &'a World,
        on: impl Fn(&Message) -> bool,
        wanted: impl Fn(&Value) -> bool,
    ) -> Option<(&'a Message, &'a Value)> {
        let visible = |one: &&Message| on(one) && world.sees(self.id, one);
        world.messages.all().rev().filter(visible).find_map(|message| {
            let mut found = None;
            walk(&message.components, &mut |component| {
                if found.is_none() && wanted(component) {
                    found = Some(component);
                }
            });
            found.map(|component| (message, component))
        })
    }

    /// Fills in and submits the modal that an interaction opened; fields by label or `custom_id`.
    /// What is not named keeps the value the bot gave it.
    ///
    /// # Errors
    /// When no modal is open, there is no such field, or a text is missing, too short or too long.
    pub fn submit(
        &self,
        modal_of: &Interaction,
        fields: &[(&str, &str)],
    ) -> Result<Interaction, Refused> {
        let Some(modal) = modal_of.modal() else {
            return refuse("The bot opened no modal.");
        };
        let (channel, source) = modal_of.look(|_, turn| (turn.channel, turn.source));
        let mut used = vec![false; fields.len()];
        let rows = modal["components"].as_array().cloned().unwrap_or_default();
        let rows = rows
            .iter()
            .map(|row| filled(row, row["label"].as_str(), fields, &mut used))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(at) = used.iter().position(|used| !used) {
            return refuse(format!("The modal has no field \"{}\".", fields[at].0));
        }
        let data = json!({ "custom_id": modal["custom_id"], "components": rows });
        let begun = self.change(|world| {
            let begun = world.begin(Act { kind: 5, user: self.id, channel, data, source });
            if let Some(turn) = world.turns.get_mut(&begun.0) {
                turn.opener = Some(modal_of.id);
            }
            begun
        });
        Ok(Interaction::new(&self.guild.discord, begun))
    }

    /// Says something in the channel.
    ///
    /// # Errors
    /// When this member may not, or it is empty or longer than 2000 characters.
    pub fn try_say(&self, text: &str, attachments: &[&str]) -> Result<Id, Refused> {
        self.change(|world| {
            let place = world.channels.get(&self.channel);
            let speaks = place.is_some_and(|one| world.can(self.id, one.id, one.speaking()));
            if !speaks || !attachments.is_empty() && !world.can(self.id, self.channel, ATTACH_FILES)
            {
                return refuse(format!("{} may not send that here.", self.name));
            }
            if text.trim().is_empty() && attachments.is_empty() {
                return refuse("There is nothing to say.");
            }
            if text.chars().count() > 2000 {
                return refuse("A message has at most 2000 characters.");
            }
            let files = attachments.iter().map(|name| world.attachment(name, None, 1)).collect();
            let place = Place::channel(self.channel, self.id);
            Ok(world.post(Draft::said(text, files), place))
        })
    }

    /// Says something in the channel and gives the message's id.
    ///
    /// # Panics
    /// When this member may not.
    pub fn says(&self, text: &str) -> Id {
        self.says_with(text, &[])
    }

    /// The same with files, given by their names.
    ///
    /// # Panics
    /// When this member may not.
    pub fn says_with(&self, text: &str, attachments: &[&str]) -> Id {
        let said = self.try_say(text, attachments);
        said.unwrap_or_else(|refused| panic!("{} can't say that: {refused}", self.name))
    }

    /// Edits an own message.
    ///
    /// # Errors
    /// When it is not this member's, or the text is empty.
    pub fn edits(&self, message: Id, text: &str) -> Result<(), Refused> {
        self.change(|world| {
            if world.messages.get(message).is_none_or(|one| one.author != self.id) {
                return refuse(format!("That is no message of {}.", self.name));
            }
            let edited = world.edit(message, &Draft::said(text, Vec::new()));
            edited.map_err(|_| Refused("An edit must leave something.".into()))
        })
    }

    /// Deletes an own message, or as a moderator someone else's.
    ///
    /// # Errors
    /// When this member may not.
    pub fn deletes(&self, message: Id) -> Result<(), Refused> {
        self.change(|world| {
            let may = world.messages.get(message).is_some_and(|one| {
                one.author == self.id || world.can(self.id, one.channel, MANAGE_MESSAGES)
            });
            if !may {
                return refuse(format!("{} may not delete that.", self.name));
            }
            world.delete_message(message);
            Ok(())
        })
    }

    /// Takes no DMs from now on.
    pub fn close_dms(&self) {
        self.set_dms(false);
    }

    /// Takes DMs again.
    pub fn open_dms(&self) {
        self.set_dms(true);
    }

    fn set_dms(&self, open: bool) {
        self.change(|world| {
            if let Some(user) = world.users.get_mut(&self.id) {
                user.dms_open = open;
            }
        });
    }

    /// Changes the nickname in this guild, as the member would.
    pub fn set_nick(&self, nick: Option<&str>) {
        self.change(|world| {
            if let Some(member) = world.guild_mut(self.guild.id).members.get_mut(&self.id) {
                member.nick = nick.map(str::to_owned);
                world.dispatch_member_update(self.guild.id, self.id);
            }
        });
    }

    /// Changes the username. This handle keeps the old one as its `name`.
    pub fn set_username(&self, name: &str) {
        self.change(|world| world.edit_user(self.id, |user| user.name = name.into()));
    }

    /// Changes the display name.
    pub fn set_display_name(&self, name: Option<&str>) {
        let name = name.map(str::to_owned);
        self.change(|world| world.edit_user(self.id, |user| user.global_name = name));
    }

    /// Sets or removes the avatar, by its hash.
    pub fn set_avatar(&self, hash: Option<&str>) {
        let hash = hash.map(str::to_owned);
        self.change(|world| world.edit_user(self.id, |user| user.avatar = hash));
    }

    /// All messages this member sees now, the oldest first.
    #[must_use]
    pub fn sees(&self) -> Vec<Seen> {
        self.read(|world| {
            let visible = world.messages.all().filter(|one| self.is_here(world, one));
            visible.map(|message| Seen::of(world, message, self.id)).collect()
        })
    }

    /// Messages of this guild and of the DM with the bot.
    fn is_here(&self, world: &World, message: &Message) -> bool {
        let place = world.channels.get(&message.channel);
        let here = place.is_some_and(|one| one.guild.is_none_or(|guild| guild == self.guild.id));
        here && world.sees(self.id, message)
    }

    /// What changed for this member since the last call, in order: a message that came and was
    /// edited in between counts as one that came.
    #[must_use]
    pub fn news(&self) -> Vec<Change> {
        self.change(|world| {
            let log = &world.messages.log;
            let from = world.read_until.insert(self.id, log.len()).unwrap_or(0);
            let fresh = &world.messages.log[from..];
            let mut news = Vec::new();
            for (index, (happened, id)) in fresh.iter().enumerate() {
                let earlier = &fresh[..index];
                let posted_now = earlier.contains(&(Happened::Posted, *id));
                let repeated = earlier.contains(&(Happened::Edited, *id)) || posted_now;
                match (happened, world.messages.ever(*id)) {
                    (_, Some(message)) if !self.is_here(world, message) => {}
                    (Happened::Deleted, _) if !posted_now => news.push(Change::Deleted(*id)),
                    (Happened::Posted, Some(message)) if !message.deleted => {
                        news.push(Change::Posted(Seen::of(world, message, self.id)));
                    }
                    (Happened::Edited, Some(message)) if !message.deleted && !repeated => {
                        news.push(Change::Edited(Seen::of(world, message, self.id)));
                    }
                    _ => {}
                }
            }
            news
        })
    }
}

fn menu_data(command: &Value, kind: u8, target: Id, resolved: &Resolved) -> Value {
    let mut data = json!({
        "id": command["id"],
        "name": command["name"],
        "type": kind,
        "target_id": target.to_string(),
        "resolved": resolved.0,
    });
    if let Some(guild) = command["guild_id"].as_str() {
        data["guild_id"] = guild.into();
    }
    data
}

fn named(component: &Value, wanted: &str, keys: &[&str]) -> bool {
    component["custom_id"] == wanted || keys.iter().any(|key| component[*key] == wanted)
}

/// A part of a modal as it is submitted: texts with what was filled in.
fn filled(
    part: &Value,
    title: Option<&str>,
    fields: &[(&str, &str)],
    used: &mut [bool],
) -> Result<Value, Refused> {
    if part["type"] != 4 {
        let mut part = part.clone();
        let title = part["label"].as_str().map(str::to_owned).or(title.map(str::to_owned));
        if let Some(children) = part["components"].as_array_mut() {
            for child in children {
                *child = filled(child, title.as_deref(), fields, used)?;
            }
        }
        if part["component"].is_object() {
            part["component"] = filled(&part["component"], title.as_deref(), fields, used)?;
        }
        return Ok(part);
    }
    let label = part["label"].as_str().or(title).unwrap_or_default();
    let given = fields.iter().position(|(name, _)| part["custom_id"] == **name || label == *name);
    let text = match given {
        Some(at) => {
            used[at] = true;
            fields[at].1
        }
        None => part["value"].as_str().unwrap_or_default(),
    };
    let length = text.chars().count() as u64;
    if length == 0 && part["required"] != false {
        return refuse(format!("The field \"{label}\" must be filled in."));
    }
    let least = part["min_length"].as_u64().unwrap_or(0);
    let most = part["max_length"].as_u64().unwrap_or(4000);
    if length > most || length > 0 && length < least {
        return refuse(format!("The field \"{label}\" takes {least} to {most} characters."));
    }
    Ok(json!({ "type": 4, "id": part["id"], "custom_id": part["custom_id"], "value": text }))
}

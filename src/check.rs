//! `bytekeeper check`: what a host still has to do, in words.

use std::fmt::Write as _;

use poise::serenity_prelude as serenity;
use serenity::GuildInfo;

use crate::app::{Discord, StartError};
use crate::config::Config;
use crate::db;
use crate::discord::{needs, registration};

/// What was found, as text for the terminal.
#[derive(Debug)]
pub struct Report {
    /// Lines to print.
    pub text: String,
    /// Things that a host has to mend before all works.
    pub problems: usize,
}

impl Report {
    fn fine(&mut self, what: &str, found: &str) {
        self.line("ok ", what, found);
    }

    fn problem(&mut self, what: &str, found: &str) {
        self.problems += 1;
        self.line("FIX", what, found);
    }

    fn line(&mut self, mark: &str, what: &str, found: &str) {
        // Writing to a String can't fail.
        writeln!(self.text, "{mark}  {what:<14}{found}").expect("infallible");
    }
}

/// Looks at everything that the bot needs: configuration, database, token, portal, guilds.
///
/// The database is reached as `run` would reach it, and its tables are not touched.
pub async fn check(config: &Config) -> Report {
    let mut report = Report { text: String::new(), problems: 0 };
    report.fine("configuration", "every variable can be read");
    check_database(config, &mut report).await;
    match config.require_token() {
        Ok(token) => match Discord::reach(config, token).await {
            Ok(discord) => check_discord(config, &discord, &mut report).await,
            Err(error) => report.problem("token", &error.to_string()),
        },
        Err(error) => report.problem("token", &error.to_string()),
    }
    report
}

async fn check_database(config: &Config, report: &mut Report) {
    match db::join(&config.database).await {
        Ok((server, pool)) => {
            match db::version(&pool).await {
                Ok(version) => {
                    let kind =
                        if config.database.url.is_some() { "DATABASE_URL" } else { "embedded" };
                    report.fine("database", &format!("{kind}, Postgres {version}"));
                }
                Err(error) => report.problem("database", &error.to_string()),
            }
            pool.close().await;
            server.stop().await;
        }
        Err(error) => report.problem("database", &error.to_string()),
    }
}

async fn check_discord(config: &Config, discord: &Discord, report: &mut Report) {
    let application = &discord.application;
    report.fine("token", &format!("belongs to {} ({})", discord.bot.username, discord.bot.id));
    if let Some(url) =
        application.interactions_endpoint_url.as_deref().filter(|url| !url.is_empty())
    {
        report.problem(
            "portal",
            &format!("General Information, Interactions Endpoint URL is set ({url}): commands go there and never reach the bot; clear it"),
        );
    }
    if application.bot_require_code_grant {
        report.problem(
            "portal",
            "Bot, Requires OAuth2 Code Grant is on: the invite link can't work; switch it off",
        );
    }
    if !application.bot_public {
        report.fine("portal", "Bot, Public Bot is off: only you can invite the bot");
    }
    check_intents(application.flags.unwrap_or_default(), report);
    match all_guilds(&discord.http).await {
        Ok(guilds) if guilds.is_empty() => {
            report.problem("guilds", "the bot is in none yet; invite it with the link below");
        }
        Ok(guilds) => check_guilds(config, &guilds, report),
        Err(error) => {
            report.problem("guilds", &StartError::from_discord(config, &error).to_string());
        }
    }
    check_commands(config, discord, report).await;
    let link = needs::invite_link(discord.application_id());
    report.line("   ", "invite link", &link);
}

/// Every guild that the bot is in, 200 a request.
async fn all_guilds(http: &serenity::Http) -> serenity::Result<Vec<GuildInfo>> {
    let mut guilds: Vec<GuildInfo> = Vec::new();
    loop {
        let after = guilds.last().map(|guild| serenity::GuildPagination::After(guild.id));
        let page = http.get_guilds(after, Some(200)).await?;
        let last = page.len() < 200;
        guilds.extend(page);
        if last {
            return Ok(guilds);
        }
    }
}

/// The switches of the portal that the bot's intents need, by the flags that stand for them.
fn check_intents(flags: serenity::ApplicationFlags, report: &mut Report) {
    let missing = needs::missing_switches(needs::allowed_intents(flags));
    for (switch, need) in &missing {
        report.problem(
            "portal",
            &format!("Bot, {switch} is off; without it {}: {}", need.part, need.without),
        );
    }
    if missing.is_empty() {
        report.fine("intents", "every switch that the bot needs is on");
    }
}

fn check_guilds(config: &Config, guilds: &[GuildInfo], report: &mut Report) {
    if let Some(wanted) = config.commands_guild
        && !guilds.iter().any(|guild| guild.id == wanted)
    {
        report.problem(
            "guilds",
            &format!(
                "COMMANDS_GUILD_ID: the bot is not in guild {wanted}; invite it with the link below"
            ),
        );
    }
    for guild in guilds {
        let before = report.problems;
        for need in needs::NEEDS {
            let missing = need.permissions - guild.permissions;
            if !missing.is_empty() && !guild.permissions.administrator() {
                let missing = missing.get_permission_names().join(", ");
                report.problem(
                    "permissions",
                    &format!(
                        "{}: {missing} missing; without it {}: {}",
                        guild.name, need.part, need.without
                    ),
                );
            }
        }
        if report.problems == before {
            report.fine("guild", &format!("{}: nothing is missing", guild.name));
        }
    }
}

/// Whether what is registered at Discord is what this version has.
async fn check_commands(config: &Config, discord: &Discord, report: &mut Report) {
    let found = match registration::registered(&discord.http, config.commands_guild).await {
        Ok(found) => found,
        Err(error) => {
            report.problem("commands", &StartError::from_discord(config, &error).to_string());
            return;
        }
    };
    if registration::is_current(&found).unwrap_or(false) {
        report.fine("commands", "are registered");
    } else {
        report.line(
            "   ",
            "commands",
            "are not those of this version yet; the next start registers them",
        );
    }
}

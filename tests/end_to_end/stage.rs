//! What every test plays on: a Discord, a guild of members, and the bot.

use std::time::Duration;

use bytekeeper::app::{Bot, StartError};
use bytekeeper::bytes;
use bytekeeper::config::Config;
use sandbox::{Discord, Guild, Interaction, Member, Seen};
use sqlx::{ConnectOptions, PgPool};
use tempfile::TempDir;
use tokio::time::timeout;

/// A guild with members, and the bot running in it.
pub(crate) struct Stage {
    pub(crate) discord: Discord,
    pub(crate) guild: Guild,
    pub(crate) olga: Member,
    pub(crate) ada: Member,
    pub(crate) bob: Member,
    pub(crate) bot: Bot,
    pool: PgPool,
    folder: TempDir,
}

impl Stage {
    /// Opens with the bot connected and its commands registered.
    pub(crate) async fn open(pool: PgPool) -> Self {
        let url = pool.connect_options().to_url_lossy().to_string();
        Self::open_at(pool, &url).await
    }

    /// The same, with the bot reaching the pool's database by another address.
    pub(crate) async fn open_at(pool: PgPool, database_url: &str) -> Self {
        let discord = Discord::start().await.expect("a port is free");
        discord.configure_application(|settings| settings.guild_members_intent = true);
        let guild = discord.add_guild("The Reading Room", "olga");
        let (olga, ada, bob) = (guild.owner(), guild.add_member("ada"), guild.add_member("bob"));
        let folder = TempDir::new().expect("a folder");
        let bot =
            start(&discord, &folder, &[("DATABASE_URL", database_url)]).await.expect("starts");
        discord.ready().await.expect("ready");
        Self { discord, guild, olga, ada, bob, bot, pool, folder }
    }

    /// The same with the bot stopped and another process of it started.
    pub(crate) async fn restarted(self) -> Self {
        let url = self.pool.connect_options().to_url_lossy().to_string();
        self.bot.stop().await;
        let known = session_ids(&self.discord);
        let bot = start(&self.discord, &self.folder, &[("DATABASE_URL", &url)]).await;
        new_session(&self.discord, &known).await;
        Self { bot: bot.expect("starts"), ..self }
    }

    /// Closes: the ledger must add up, and the bot must have asked nothing that Discord refuses.
    pub(crate) async fn close(self) {
        self.close_refused(&[]).await;
    }

    /// The same where Discord was to refuse something, by these of its codes.
    pub(crate) async fn close_refused(self, planned: &[u64]) {
        self.audit().await;
        // Refused by design: the answer to a second delivery (40060, already acknowledged), and
        // asking whether somebody who left is a member (10007, unknown member).
        let mut refused = self.discord.refused();
        refused.retain(|request| {
            let code = request.error.as_ref().and_then(|error| error["code"].as_u64());
            let asks = request.method == "GET" && request.path.contains("/members/");
            !code.is_some_and(|code| {
                code == 40_060 || asks && code == 10_007 || planned.contains(&code)
            })
        });
        assert!(refused.is_empty(), "Discord refused: {refused:#?}");
        self.assert_nothing_pings_by_accident();
        self.bot.stop().await;
    }

    /// Every message says whom it may ping: nobody, or one user by name.
    fn assert_nothing_pings_by_accident(&self) {
        for request in self.discord.requests() {
            let message = request.body.get("data").unwrap_or(&request.body);
            if message.get("embeds").is_none() {
                continue;
            }
            let allowed = &message["allowed_mentions"];
            let none = |key: &str| allowed[key].as_array().is_some_and(Vec::is_empty);
            let named = allowed["users"].as_array().is_some_and(|users| users.len() <= 1);
            assert!(none("parse") && none("roles") && named, "{request:#?}");
        }
    }

    /// The ledger must add up.
    pub(crate) async fn audit(&self) {
        let audit = bytes::audit(&self.pool).await.expect("readable");
        assert!(audit.is_clean(), "{audit}");
    }

    /// The database.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Runs one statement on the database.
    pub(crate) async fn sql(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.expect("valid");
    }

    /// Sets settings of the guild: `max_transfer = 5`.
    pub(crate) async fn configure(&self, settings: &str) {
        let guild = self.guild.id;
        let sql = format!(
            "insert into bytes_configs (guild_id) values ('{guild}') on conflict do nothing; \
             update bytes_configs set {settings} where guild_id = '{guild}'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&self.pool).await.expect("valid");
    }

    /// Gives a member bytes, as a manager's correction would.
    pub(crate) async fn grant(&self, member: &Member, bytes: i64) {
        let sql = "with entry as (
                select gen_random_uuid() as id, (
                    select last_transaction_id from bytes_balances where guild_id = $1 and user_id = $2
                ) as previous_id
            ),
            account as (
                insert into bytes_balances (guild_id, user_id, balance, total_received, last_transaction_id)
                select $1, $2, $3, $3, id from entry
                on conflict (guild_id, user_id) do update
                set balance = bytes_balances.balance + $3, total_received = bytes_balances.total_received + $3,
                    last_transaction_id = excluded.last_transaction_id
                returning guild_id, user_id, balance
            )
            insert into bytes_transactions (
                guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount, receiver_balance,
                receiver_previous_id, created_at
            )
            select guild_id, id, 'adjustment', '1', 'bot', user_id, 'member', $3, balance, previous_id, now()
            from account, entry";
        sqlx::query(sql)
            .bind(self.guild.id.to_string())
            .bind(member.id.to_string())
            .bind(bytes)
            .execute(&self.pool)
            .await
            .expect("valid");
    }

    /// Whether a statement returns true.
    pub(crate) async fn is(&self, sql: &'static str) -> bool {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("readable")
    }

    /// A member's balance in the table.
    pub(crate) async fn balance(&self, member: &Member) -> Option<i64> {
        sqlx::query_scalar(
            "select balance from bytes_balances where guild_id = $1 and user_id = $2",
        )
        .bind(self.guild.id.to_string())
        .bind(member.id.to_string())
        .fetch_optional(&self.pool)
        .await
        .expect("readable")
    }
}

/// Starts a bot on a Discord with these variables beside the token and the address.
pub(crate) async fn start(
    discord: &Discord,
    folder: &TempDir,
    vars: &[(&str, &str)],
) -> Result<Bot, StartError> {
    let own = [
        ("DISCORD_TOKEN", discord.token()),
        ("DISCORD_API_URL", discord.url()),
        ("DATA_DIR", folder.path().display().to_string()),
    ];
    let config = Config::from_lookup(|name| {
        let given = vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let value =
            given.or_else(|| own.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone()));
        value.map(Ok)
    })
    .expect("valid");
    let mut bot = Bot::start(&config).await?;
    bot.ready().await?;
    Ok(bot)
}

/// Waits until something happened.
pub(crate) async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("not within 20 s: {what}"));
}

/// Waits until the bot has identified anew: a session is connected that was not `known` before.
pub(crate) async fn new_session(discord: &Discord, known: &[String]) {
    let found = discord.sessions_until(|now| {
        now.iter().any(|session| session.connected && !known.contains(&session.id))
    });
    timeout(Duration::from_secs(20), found).await.expect("a new session within 20 s");
}

/// The ids of all gateway sessions so far.
pub(crate) fn session_ids(discord: &Discord) -> Vec<String> {
    discord.sessions().into_iter().map(|session| session.id).collect()
}

/// Types a command and returns what the member sees of it.
pub(crate) async fn ask(member: &Member, line: &str) -> Seen {
    typed(member, line).answer().await
}

/// Types a command.
pub(crate) fn typed(member: &Member, line: &str) -> Interaction {
    member.slash(line).unwrap_or_else(|refused| panic!("{line}: {refused}"))
}

/// A refusal: only who acted sees it.
#[track_caller]
pub(crate) fn assert_refused(seen: &Seen, words: &str) {
    assert!(seen.ephemeral, "everybody sees {:?}", seen.text());
    assert!(seen.text().contains(words), "{:?} lacks {words:?}", seen.text());
}

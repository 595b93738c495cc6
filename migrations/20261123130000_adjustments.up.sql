-- Who granted or took: in the ledger the other side of an adjustment is the bot, which has no account.

alter table bytes_transactions
    add column manager_id snowflake,
    add column manager_username varchar(100);
comment on column bytes_transactions.manager_id is
    'Of an adjustment: the manager who made it; null where the bot did. No check: it would tax each transfer.';
comment on column bytes_transactions.manager_username is 'The manager''s name at the time.';

alter table bytes_transactions
    drop column manager_id,
    drop column manager_username;

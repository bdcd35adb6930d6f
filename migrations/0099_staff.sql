-- With each application those who decide were looked for among all accounts: with a hundred thousand of them that took longer than all else.
-- Room: accounts.

create index account_role_ix on account (role) where role <> 'researcher';

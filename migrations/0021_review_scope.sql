-- Programs may decide on applications: a third scope of tokens, worth something in the hands of a reviewer alone.
-- Room: accounts.

alter table token drop constraint token_scopes_ck;
alter table token add constraint token_scopes_ck check (cardinality(scopes) > 0 and scopes <@ array['download', 'api', 'review']);
alter table device_sign_in drop constraint device_sign_in_scopes_ck;
alter table device_sign_in add constraint device_sign_in_scopes_ck check (cardinality(scopes) > 0 and scopes <@ array['download', 'api', 'review']);

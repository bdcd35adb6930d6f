-- Programs may do all that pages can: `apply` for one's own account, `admin` for running the portal, each worth what its holder is.
-- Room: accounts.

alter table token drop constraint token_scopes_ck;
alter table token add constraint token_scopes_ck
    check (cardinality(scopes) > 0 and scopes <@ array['download', 'api', 'review', 'apply', 'admin']);
alter table device_sign_in drop constraint device_sign_in_scopes_ck;
alter table device_sign_in add constraint device_sign_in_scopes_ck
    check (cardinality(scopes) > 0 and scopes <@ array['download', 'api', 'review', 'apply', 'admin']);

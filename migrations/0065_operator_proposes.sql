-- Where revoking takes two people, the operator's command is the first of them: a proposal may come from nobody with an account, as a
-- suspension may.
-- Room: access.

alter table access_grant
    drop constraint access_grant_proposed_ck,
    add constraint access_grant_proposed_ck
        check ((revocation_proposed_at is null) = (revocation_reason is null)
            and (revocation_proposed_by is null or revocation_proposed_at is not null));

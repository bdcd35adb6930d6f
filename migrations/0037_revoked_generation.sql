-- A generation that runs while its access is taken back ends for that reason, and its row says so.
-- Room: playground.

alter table generation drop constraint generation_reason_ck;
alter table generation add constraint generation_reason_ck
    check (finish_reason in ('stop', 'length', 'cancelled', 'failed', 'revoked', 'interrupted'));

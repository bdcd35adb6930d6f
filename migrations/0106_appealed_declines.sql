-- A decline that is appealed leaves the state of its application, and was made all the same: who counts decisions finds it by its moment.
-- Room: access.

create index application_appealed_ix on application (coalesce(appealed_decline_at, appealed_at))
    include (model_id, appeal_against) where appealed_at is not null;

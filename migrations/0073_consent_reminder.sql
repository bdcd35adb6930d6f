-- Holders who have not agreed to what has changed are reminded shortly before their access rests, once for a change.
-- Room: access.

alter table access_grant add column consent_told_at timestamptz;

-- A rule that revoking takes two people goes on for a while after it was lifted, or one admin could lift it, revoke, and set it again.
-- Room: access.

alter table access_policy add column two_until timestamptz;

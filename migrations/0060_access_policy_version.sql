-- How often the rules of a model were set: whoever sets them says which ones they saw, and of two admins at once the second is told
-- instead of undoing what the first did.
-- Room: access.

alter table access_policy add column version bigint not null default 1;

-- All that the gate, the catalogue and the accounts say about a token and a file, so that a download costs one question and not five: a
-- row for each file on offer and each token that was not revoked, with the grant that was not taken back, if there is one. It says what
-- is; whether that suffices, at this moment, is decided where it always is.
-- Room: downloads. A view over tables of accounts, access and catalog: the one place where they meet, because they are asked together.

create view permitted_file as
select
    t.secret_hash, t.id as token_id, t.name as token_name, t.scopes, t.created_at as token_created_at, t.expires_at as token_expires_at,
    t.last_used_at,
    a.id as account_id, a.email, a.name as account_name, a.role, a.email_verified_at, a.created_at as account_created_at,
    m.id as model_id, m.org, m.name as model_name, m.gate, m.licence_sha256, m.summary, m.created_at as model_created_at,
    g.id as grant_id, g.granted_at, g.expires_at as grant_expires_at,
    r.id as release_id, r.revision, r.notes, r.config_json, r.published_at,
    f.path, f.is_lfs, o.size_bytes, o.sha256, o.blake3, o.git_sha1
from token t
join account a on a.id = t.account_id
cross join model m
join release r on r.model_id = m.id
join release_file f on f.release_id = r.id
join object o on o.sha256 = f.object_sha256
left join access_grant g on g.account_id = a.id and g.model_id = m.id and g.revoked_at is null
where t.revoked_at is null and a.disabled_at is null and r.published_at is not null and r.yanked_at is null;

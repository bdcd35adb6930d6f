-- What proves a release without us: the digests of every chunk, the signatures, and what was found in the weights.
-- Room: catalog. Written when a release is published; for what was published before, a worker reads the store again and writes them.

-- Git's digest is for clients of the Hub, who know files over 10 MB by their SHA-256.
alter table object alter column git_sha1 drop not null;

-- For each 16 MiB of an object, in order: 32 bytes SHA-256, 32 bytes BLAKE3.
create table object_chunks (
    object_sha256 text constraint object_chunks_pk primary key constraint object_chunks_object_fk references object on delete cascade,
    digests bytea not null,
    constraint object_chunks_digests_ck check (octet_length(digests) % 64 = 0)
);

-- The signatures of a release, by one key. Signed again when the key is rotated; never hashed again.
create table release_proof (
    release_id uuid constraint release_proof_pk primary key constraint release_proof_release_fk references release,
    key_id text not null,
    model_sig text not null,
    documents_sig text not null,
    chunks_sig text not null,
    signed_at timestamptz not null,
    constraint release_proof_key_id_ck check (key_id ~ '^[0-9a-f]{64}$')
);
create index release_proof_key_ix on release_proof (key_id);

-- What publishing found in the weights, tensor by tensor: JSON, kept as it was written.
create table release_report (
    release_id uuid constraint release_report_pk primary key constraint release_report_release_fk references release,
    tensors_json text not null,
    reported_at timestamptz not null
);

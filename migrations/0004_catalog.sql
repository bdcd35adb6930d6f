-- What is offered: models, their immutable releases, the files of each release and the stored objects behind them.
-- Room: catalog. An object is stored once by its content; a release never changes after `published_at`.

create table licence (
    sha256 text constraint licence_pk primary key,
    name text not null,
    body text not null,
    created_at timestamptz not null,
    constraint licence_sha256_ck check (sha256 ~ '^[0-9a-f]{64}$')
);

create table model (
    id uuid constraint model_pk primary key,
    org text not null,
    name text not null,
    gate text not null,
    licence_sha256 text constraint model_licence_fk references licence,
    summary text not null default '',
    created_at timestamptz not null,
    constraint model_org_ck check (org ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$'),
    constraint model_name_ck check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$'),
    constraint model_gate_ck check (gate in ('open', 'application'))
);
-- Names that differ by case alone would be one page for people and two for programs.
create unique index model_name_uq on model (lower(org), lower(name));

create table object (
    sha256 text constraint object_pk primary key,
    blake3 text not null,
    git_sha1 text not null,
    size_bytes bigint not null,
    created_at timestamptz not null,
    constraint object_sha256_ck check (sha256 ~ '^[0-9a-f]{64}$'),
    constraint object_blake3_ck check (blake3 ~ '^[0-9a-f]{64}$'),
    constraint object_git_sha1_ck check (git_sha1 ~ '^[0-9a-f]{40}$'),
    constraint object_size_ck check (size_bytes >= 0)
);

create table release (
    id uuid constraint release_pk primary key,
    model_id uuid not null constraint release_model_fk references model,
    revision text not null,
    notes text not null default '',
    config_json jsonb,
    published_at timestamptz not null,
    published_by uuid constraint release_published_by_fk references account,
    constraint release_revision_ck check (revision ~ '^[0-9a-f]{40}$')
);
create unique index release_revision_uq on release (model_id, revision);

create table release_file (
    release_id uuid not null constraint release_file_release_fk references release,
    path text not null,
    object_sha256 text not null constraint release_file_object_fk references object,
    is_lfs boolean not null,
    constraint release_file_pk primary key (release_id, path),
    constraint release_file_path_ck check (length(path) between 1 and 255 and path !~ '(^|/)\.{1,2}(/|$)' and path !~ '^/' and path !~ '[\\\x01-\x1f]')
);
create index release_file_object_ix on release_file (object_sha256);

-- `main` (kind branch) and tags: names that point at a release.
create table release_name (
    model_id uuid not null constraint release_name_model_fk references model,
    name text not null,
    kind text not null,
    release_id uuid not null constraint release_name_release_fk references release,
    moved_at timestamptz not null,
    constraint release_name_pk primary key (model_id, name),
    constraint release_name_kind_ck check (kind in ('branch', 'tag')),
    constraint release_name_name_ck check (name ~ '^[A-Za-z0-9][A-Za-z0-9._/-]{0,95}$' and name !~ '^[0-9a-f]{7,40}$')
);
create index release_name_release_ix on release_name (release_id);

-- A program may make a token with its own: which one that was, so that revoking the first ends the second. Room: accounts.

alter table token add column made_with uuid;
alter table token add constraint token_made_with_fk foreign key (made_with) references token (id);
create index token_made_with_ix on token (made_with) where made_with is not null;

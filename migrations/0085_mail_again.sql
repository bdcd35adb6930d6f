-- A mail that came back is sent once more as a mail of its own, so that both stay in sight: what came back, and what became of the new try.
-- Room: mail.

alter table mail add column again_of uuid constraint mail_again_of_fk references mail on delete set null;
alter table mail add constraint mail_again_of_uq unique (again_of);

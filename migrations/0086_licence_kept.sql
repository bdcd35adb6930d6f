-- What was agreed to is known by the hash of its words: a licence's text stays as it was kept, as a published form does. Room: catalog.

create function licence_is_kept() returns trigger language plpgsql as $$
begin
    raise exception 'the text of a licence stays as it is: % refused', tg_op using errcode = 'insufficient_privilege';
end
$$;
create trigger licence_kept before update or delete on licence for each row execute function licence_is_kept();
create trigger licence_no_truncate before truncate on licence for each statement execute function licence_is_kept();

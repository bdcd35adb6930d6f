-- Whom mail does not reach is told beside what else is known of an applicant, in the statement that is made for that already. What it means
-- is said once, for whoever asks by address and by account.
-- Room: mail.

create function is_unreachable(address text) returns boolean language sql stable as $$
    select coalesce((
        select state in ('bounced', 'given_up') from mail
        where recipient collate "C" = address and state <> 'waiting'
        order by id desc limit 1), false)
$$;

-- The accounts that their newest mail did not reach, because it bounced or was given up.
create view unreachable_account as
select id as account_id from account where is_unreachable(email);

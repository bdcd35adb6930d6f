-- The application form is data: each form a row that never changes, named by the SHA-256 of its canonical JSON; each model a list of the
-- forms that were published for it, the last of which is asked now (none: the built-in one); each application the name of the form that
-- it answered. Room: access.

create table form (
    sha256 text constraint form_pk primary key,
    body jsonb not null,
    made_at timestamptz not null,
    made_by uuid constraint form_made_by_fk references account,
    constraint form_sha256_ck check (sha256 ~ '^[0-9a-f]{64}$')
);

create table model_form (
    model_id uuid not null constraint model_form_model_fk references model,
    version integer not null,
    form_sha256 text not null constraint model_form_form_fk references form,
    since timestamptz not null,
    published_by uuid not null constraint model_form_published_by_fk references account,
    constraint model_form_pk primary key (model_id, version),
    constraint model_form_version_ck check (version > 0)
);

create function form_is_kept() returns trigger language plpgsql as $$
begin
    raise exception 'a form that was published stays as it is: % refused', tg_op using errcode = 'insufficient_privilege';
end
$$;
create trigger form_kept before update or delete on form for each row execute function form_is_kept();
create trigger form_no_truncate before truncate on form for each statement execute function form_is_kept();
create trigger model_form_kept before update or delete on model_form for each row execute function form_is_kept();
create trigger model_form_no_truncate before truncate on model_form for each statement execute function form_is_kept();

-- The next form of a model while it is written. Whoever saves says which edition they saw; each has a number of its own, over all drafts,
-- so that a page of a draft that was discarded never fits the next one.
create sequence form_draft_edition;
create table form_draft (
    model_id uuid constraint form_draft_pk primary key constraint form_draft_model_fk references model,
    body jsonb not null,
    edition bigint not null default nextval('form_draft_edition'),
    updated_at timestamptz not null,
    updated_by uuid not null constraint form_draft_updated_by_fk references account
);

-- None in a draft, which names the form it was written on among its answers, as it does with the licence.
alter table application add column form_sha256 text constraint application_form_fk references form;

-- The form of all applications so far.
insert into form (sha256, made_at, body) values ('89296edbff31d96cb149d727f7f6d9614eaaefe8222be56289863e9953f15d71', now(), '{"clauses": [{"field": "agree_non_commercial", "id": "2a-i", "source": "licence", "wording": "I will use the model for non-commercial research only, not for profit and not in production."},
 {"field": "agree_no_military", "id": "2a-ii", "source": "licence", "wording": "I will not use it for military purposes, weapons or nuclear technology."},
 {"field": "agree_no_surveillance", "id": "2a-iii", "source": "licence", "wording": "I will not use it for surveillance, or for research and development that serves it."},
 {"field": "agree_no_biometrics", "id": "2a-iv", "source": "licence", "wording": "I will not use it to process biometric data."},
 {"field": "agree_no_harm", "id": "2a-v", "source": "licence", "wording": "I will not use it to violate anybody''s rights, or help anybody else to."},
 {"field": "agree_lawful", "id": "2a-vi", "source": "licence", "wording": "My use is lawful, and no embargo or trade sanction stands against it."},
 {"field": "agree_no_sublicence", "id": "1a", "source": "licence", "wording": "The licence is mine alone: I will not sublicense it or hand it on to somebody else."},
 {"field": "agree_attribution", "id": "3", "source": "licence", "wording": "Whatever I may pass on under the licence goes out for non-commercial research only, with the licence and the attribution it asks for."},
 {"field": "agree_stop", "id": "7", "source": "licence", "wording": "When the licence or my access ends, I stop using the model."},
 {"field": "agree_deletion", "id": "site-deletion", "source": "site", "wording": "When my access ends, I delete every copy of the weights that I hold."},
 {"field": "agree_no_sharing", "id": "site-no-sharing", "source": "site", "wording": "I keep the weights to myself: colleagues apply for themselves, and my account and tokens are used by me alone."},
 {"field": "agree_adult", "id": "site-adult", "source": "site", "wording": "I am at least 18 years old."},
 {"field": "agree_privacy", "id": "site-privacy", "source": "site", "wording": "I know that reviewers read this application, and that the decision and my downloads are kept on record."}], "sections": [{"fields": [{"hint": "", "kind": {"choice": {"of": [{"label": "Undergraduate student", "value": "undergraduate"},
 {"label": "Graduate student", "value": "graduate_student"},
 {"label": "Postdoctoral researcher", "value": "postdoc"},
 {"label": "Academic staff", "value": "academic"},
 {"label": "Government", "value": "government"},
 {"label": "Civil society", "value": "civil_society"},
 {"label": "Industry research lab", "value": "industry_lab"},
 {"label": "Independent researcher", "value": "independent"},
 {"label": "Journalist", "value": "journalist"},
 {"label": "Other", "value": "other"}]}}, "label": "What you are", "name": "role", "need": "always"},
 {"hint": "Its full name. Independent: write “independent”.", "kind": {"line": {"chars_max": 200}}, "label": "Organisation", "name": "organisation", "need": "always"},
 {"hint": "", "kind": {"line": {"chars_max": 200}}, "label": "Department or group", "name": "department", "need": "optional"},
 {"hint": "Where you will work with the model.", "kind": "country", "label": "Country", "name": "country", "need": "always"},
 {"hint": "A page that shows who you are makes a decision quicker. Such as https://uni.example/people/you", "kind": "url", "label": "Profile or publications page", "name": "profile_url", "need": "optional"},
 {"hint": "Such as 0000-0002-1825-0097.", "kind": "orcid", "label": "ORCID", "name": "orcid", "need": "optional"}], "id": "you", "intro": "Your name and address come from your account.", "title": "You"},
 {"fields": [{"hint": "Your supervisor or head of group.", "kind": {"line": {"chars_max": 200}}, "label": "Sponsor''s name", "name": "sponsor_name", "need": {"when": {"field": "role", "is": ["undergraduate", "graduate_student", "postdoc"]}}},
 {"hint": "At their institution, where reviewers can ask.", "kind": "email", "label": "Sponsor''s e-mail", "name": "sponsor_email", "need": {"when": {"field": "role", "is": ["undergraduate", "graduate_student", "postdoc"]}}},
 {"hint": "Such as “supervises my doctorate”.", "kind": {"line": {"chars_max": 200}}, "label": "How they know your work", "name": "sponsor_relation", "need": {"when": {"field": "role", "is": ["undergraduate", "graduate_student", "postdoc"]}}}], "id": "sponsor", "intro": "Students and postdocs name the person who answers for their work.", "title": "Sponsor"},
 {"fields": [{"hint": "", "kind": {"line": {"chars_max": 200}}, "label": "Title", "name": "title", "need": "always"},
 {"hint": "The question, the method, and why this model is needed: 300 to 4,000 characters, at least 40 words.", "kind": {"text": {"chars_max": 4000, "chars_min": 300, "words_min": 40}}, "label": "Research summary", "name": "summary", "need": "always"},
 {"hint": "The same for somebody outside your field: 80 to 1,500 characters. Shown to reviewers only.", "kind": {"text": {"chars_max": 1500, "chars_min": 80, "words_min": 10}}, "label": "In plain words", "name": "lay_summary", "need": "always"},
 {"hint": "A few words, such as “machine translation, low-resource languages”.", "kind": {"line": {"chars_max": 200}}, "label": "Research areas", "name": "areas", "need": "always"},
 {"hint": "", "kind": {"ticks": {"of": [{"label": "Evaluation", "value": "evaluation"},
 {"label": "Interpretability", "value": "interpretability"},
 {"label": "Bias and toxicity", "value": "bias"},
 {"label": "Safety", "value": "safety"},
 {"label": "New methods", "value": "methods"},
 {"label": "Education", "value": "education"},
 {"label": "Something else", "value": "other"}]}}, "label": "What you will use the model for", "name": "uses", "need": "always"},
 {"hint": "", "kind": {"line": {"chars_max": 200}}, "label": "What else", "name": "uses_text", "need": {"when": {"field": "uses_other", "is": ["on"]}}},
 {"hint": "1 to 12. When the time is over you can apply again with the same answers.", "kind": "months", "label": "For how many months", "name": "months", "need": "always"},
 {"hint": "Who pays for the work, if anybody.", "kind": {"line": {"chars_max": 200}}, "label": "Funding", "name": "funding", "need": "optional"},
 {"hint": "A company''s money, staff or products; a start-up; paid work.", "kind": {"choice": {"of": [{"label": "No", "value": "no"},
 {"label": "Yes, in part; I explain below", "value": "yes"}]}}, "label": "Is anything about the project commercial?", "name": "commercial", "need": "always"},
 {"hint": "Who is involved, and why the use of the model is still non-commercial research.", "kind": {"text": {"chars_max": 1500, "chars_min": 40, "words_min": 5}}, "label": "What is commercial about it", "name": "commercial_text", "need": {"when": {"field": "commercial", "is": ["yes"]}}}], "id": "project", "intro": "What you want to find out, and why with this model.", "title": "Your project"},
 {"fields": [{"hint": "", "kind": {"text": {"chars_max": 1500, "chars_min": 0, "words_min": 0}}, "label": "What you plan to publish", "name": "publication_plan", "need": "optional"},
 {"hint": "Fine-tuned, distilled, merged or converted.", "kind": {"choice": {"of": [{"label": "No", "value": "none"},
 {"label": "Yes, kept inside my group", "value": "internal"},
 {"label": "Yes, to be released under the same terms", "value": "release"}]}}, "label": "Will you make weights from these?", "name": "derived_weights", "need": "always"},
 {"hint": "Its number and board, where one is needed.", "kind": {"line": {"chars_max": 200}}, "label": "Ethics approval", "name": "ethics", "need": "optional"}], "id": "outputs", "intro": "So that everybody knows what to expect.", "title": "What comes of it"},
 {"fields": [{"hint": "", "kind": {"choice": {"of": [{"label": "At my institution", "value": "institution"},
 {"label": "With a cloud provider", "value": "cloud"},
 {"label": "On a machine of my own", "value": "own"}]}}, "label": "Where weights and computing will be", "name": "storage_kind", "need": "always"},
 {"hint": "The cluster or machine, or the cloud provider and region.", "kind": {"line": {"chars_max": 200}}, "label": "Which place", "name": "storage_location", "need": "always"},
 {"hint": "Tick what holds.", "kind": {"ticks": {"of": [{"label": "The disk is encrypted", "value": "encryption"},
 {"label": "Every person has a named account", "value": "accounts"},
 {"label": "The weights lie in no shared folder", "value": "unshared"}]}}, "label": "How access is controlled", "name": "controls", "need": "always"},
 {"hint": "", "kind": {"text": {"chars_max": 1500, "chars_min": 0, "words_min": 0}}, "label": "Anything else about it", "name": "controls_text", "need": "optional"},
 {"hint": "An e-mail address that is read when something leaks; yours is fine.", "kind": "email", "label": "Security contact", "name": "security_contact", "need": "always"}], "id": "safeguards", "intro": "Where the weights will lie, and who can reach them.", "title": "Safeguards"},
 {"fields": [{"hint": "", "kind": {"choice": {"of": [{"label": "for myself, as a person", "value": "self"},
 {"label": "for my organisation, which I have the authority to bind", "value": "entity"}]}}, "label": "I agree", "name": "capacity", "need": "always"}], "id": "in-whose-name", "intro": "", "title": "In whose name"}]}');
update application set form_sha256 = '89296edbff31d96cb149d727f7f6d9614eaaefe8222be56289863e9953f15d71' where submitted_at is not null;

// @generated automatically by Diesel CLI.

diesel::table! {
    use diesel::sql_types::{Bool, Bytea, Int8, Nullable, Text};
    use crate::db::types::Timestamptz;

    api_keys (id) {
        id -> Int8,
        user_id -> Int8,
        name -> Text,
        role -> Text,
        prefix -> Text,
        hash -> Bytea,
        created_on -> Timestamptz,
        expires_on -> Nullable<Timestamptz>,
        last_used_on -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Bytea, Int8, Nullable, Text};
    use crate::db::types::Timestamptz;

    idempotency_keys (key_hash) {
        key_hash -> Bytea,
        fingerprint -> Bytea,
        status -> Int8,
        headers -> Text,
        body -> Bytea,
        created_on -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Bytea, Int8, Nullable, Text};
    use crate::db::types::Timestamptz;

    posts (id) {
        id -> Int8,
        title -> Text,
        author -> Nullable<Text>,
        content -> Nullable<Text>,
        published -> Bool,
        owner_id -> Nullable<Int8>,
        created_on -> Timestamptz,
        updated_on -> Timestamptz,
        version -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Bytea, Int8, Nullable, Text};
    use crate::db::types::Timestamptz;

    posts_search (post_id) {
        post_id -> Int8,
        title -> Text,
        author -> Text,
        content -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Bytea, Int8, Nullable, Text};
    use crate::db::types::Timestamptz;

    refresh_tokens (hash) {
        hash -> Bytea,
        session_id -> Int8,
        used_on -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Bytea, Int8, Nullable, Text};
    use crate::db::types::Timestamptz;

    sessions (id) {
        id -> Int8,
        user_id -> Int8,
        created_on -> Timestamptz,
        refreshed_on -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Bytea, Int8, Nullable, Text};
    use crate::db::types::Timestamptz;

    setup_tokens (hash) {
        hash -> Bytea,
        expires_on -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Bytea, Int8, Nullable, Text};
    use crate::db::types::Timestamptz;

    users (id) {
        id -> Int8,
        email -> Text,
        email_key -> Text,
        role -> Text,
        disabled -> Bool,
        password_hash -> Text,
        token_generation -> Int8,
        created_on -> Timestamptz,
        updated_on -> Timestamptz,
        version -> Int8,
    }
}

diesel::joinable!(api_keys -> users (user_id));
diesel::joinable!(posts -> users (owner_id));
diesel::joinable!(posts_search -> posts (post_id));
diesel::joinable!(refresh_tokens -> sessions (session_id));
diesel::joinable!(sessions -> users (user_id));

diesel::allow_tables_to_appear_in_same_query!(
    api_keys,
    idempotency_keys,
    posts,
    posts_search,
    refresh_tokens,
    sessions,
    setup_tokens,
    users,
);

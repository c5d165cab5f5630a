// @generated automatically by Diesel CLI.

diesel::table! {
    use diesel::sql_types::{Bool, Int8, Nullable, Text};
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

//! What is measured: each workload has a turn in each round.

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};

use crate::Options;
use crate::databases::{Postgres, RARE_WORD, create_sqlite, plan};
use crate::load::Client;
use crate::program::{Program, cpu_milliseconds, create_author, memory_mebibytes, sync_milliseconds};
use crate::report::{Report, Sample};
use crate::requests::{authorization, get, gets, new_post, posts};

const COLUMNS: &str = "id, title, author, content, published, owner_id, created_on, updated_on, version";

/// A name, and what a turn of it is.
type Workload<'a> = (String, Box<dyn Fn() -> Sample + 'a>);

/// Gives each workload its turn in each round.
fn run(options: &Options, report: &mut Report, workloads: &[Workload<'_>]) {
    for round in 1..=options.rounds {
        for (name, turn) in workloads.iter().filter(|(name, _)| options.wants(name)) {
            let sample = turn();
            println!("round {round}: {name}: {sample}");
            report.add(name, sample);
        }
    }
}

/// One server under load, with the database that it uses.
#[derive(Clone, Copy)]
struct Measured<'a> {
    program: &'a Program,
    /// The first process of the database, where that has processes of its own.
    database: Option<u32>,
    client: Client,
    options: &'a Options,
}

impl Measured<'_> {
    fn turn(&self, requests: &[String], connections: usize) -> Sample {
        let process = self.program.process();
        let used = || {
            let database = self.database.map_or(0.0, |process| cpu_milliseconds(process, true));
            (cpu_milliseconds(process, false), database)
        };
        let before = used();
        let outcome = self.client.run(self.program.address(), requests, connections, self.options.turn());
        let after = used();
        Sample {
            memory: memory_mebibytes(process, "VmRSS"),
            server_cpu: (after.0 - before.0) / outcome.requests,
            database_cpu: (after.1 - before.1) / outcome.requests,
            outcome,
        }
    }

    /// The address of a page by its number, from 1, of a list of twenty a page.
    fn page(&self, number: usize) -> String {
        let mut path = "/posts".to_owned();
        for _ in 1..number {
            let page = self.program.get(&path);
            path = format!("/posts?cursor={}", page["next_cursor"].as_str().expect("a further page"));
        }
        path
    }
}

/// Nineteen reads, and a write.
fn mixed(program: &Program, count: usize) -> Vec<String> {
    let write = posts(program).remove(0);
    let reads = gets(count, "").into_iter().enumerate();
    reads.map(|(index, read)| if index % 20 == 0 { write.clone() } else { read }).collect()
}

/// Everything on PostgreSQL.
pub(crate) fn on_postgres(options: &Options, report: &mut Report) {
    let Some(postgres) = &Postgres::find(options.database_url.as_deref()) else {
        println!("there is no PostgreSQL here");
        return;
    };
    let count = options.posts;
    let url = postgres.create("posts_bench", count);
    create_author(&url);
    let running = Program::start(&url);
    let program = &running;
    report.note_memory_at_rest(memory_mebibytes(program.process(), "VmRSS"));
    let client = Client::choose(options.own_client);
    let served = Measured { program, database: postgres.process(), client, options };
    let running_naively = Program::start_naive(&url);
    let naively = Measured { program: &running_naively, ..served };

    let by_id = gets(count, "");
    let newest = vec![get("/posts", "")];
    let deep = vec![get(&served.page((count / 20).min(1000)), "")];
    let searches = [("newest", "&sort=-created_on"), ("relevance", "")];
    let searches = searches.map(|(name, sort)| (name, vec![get(&format!("/posts?q={RARE_WORD}{sort}"), "")]));
    let pgbench = |script: String, connections: usize| {
        move || Sample::of_rate(postgres.pgbench("posts_bench", &script, connections, options.seconds))
    };
    let select = format!("\\set id random(1, {count})\nSELECT {COLUMNS} FROM posts WHERE id = :id;");
    let newest_select =
        format!("SELECT {COLUMNS} FROM posts WHERE published = true ORDER BY created_on DESC, id DESC LIMIT 21");
    let ilike = format!(
        "SELECT {COLUMNS} FROM posts WHERE content ILIKE '%{RARE_WORD}%' ORDER BY created_on DESC, id DESC LIMIT 20"
    );
    // The newest posts would be found along the index of the order; what is compared is a look at every post.
    let ilike = format!(
        "WITH found AS MATERIALIZED ({}) SELECT * FROM found ORDER BY created_on DESC, id DESC LIMIT 20;",
        ilike.split(" ORDER").next().unwrap()
    );
    assert!(plan(postgres, "posts_bench", ilike.trim_end_matches(';')).contains("Seq Scan"), "it looks at every post");
    let (title, author, content) = new_post();
    let insert = format!(
        "INSERT INTO posts (title, author, content, published, created_on, updated_on) \
         VALUES ('{title}', '{author}', '{content}', true, now(), now()) RETURNING {COLUMNS};"
    );

    let mut workloads: Vec<Workload<'_>> = Vec::new();
    let (served, naively, program, by_id, newest, deep) = (&served, &naively, program, &by_id, &newest, &deep);
    for connections in [32, 128] {
        workloads.push((format!("pgbench SELECT, {connections}"), Box::new(pgbench(select.clone(), connections))));
        workloads.push((format!("GET by id, {connections}"), Box::new(move || served.turn(by_id, connections))));
        workloads
            .push((format!("one query a request, {connections}"), Box::new(move || naively.turn(by_id, connections))));
        workloads.push((
            format!("GET by id with a token, {connections}"),
            Box::new(move || served.turn(&gets(count, &authorization(program)), connections)),
        ));
        workloads.push((
            format!("static, {connections}"),
            Box::new(move || served.turn(&[get("/health/live", "")], connections)),
        ));
        workloads.push((
            format!("pgbench SELECT of the newest 20, {connections}"),
            Box::new(pgbench(format!("{newest_select};"), connections)),
        ));
        workloads.push((format!("newest list, {connections}"), Box::new(move || served.turn(newest, connections))));
        workloads.push((format!("page 1,000, {connections}"), Box::new(move || served.turn(deep, connections))));
    }
    workloads.push(("pgbench ILIKE, 1".to_owned(), Box::new(pgbench(ilike, 1))));
    for (name, requests) in &searches {
        for connections in [1, 32] {
            workloads.push((
                format!("search by {name}, {connections}"),
                Box::new(move || served.turn(requests, connections)),
            ));
        }
    }
    let with_words = format!(
        "WITH created AS ({}) INSERT INTO posts_search (post_id, title, author, content) \
         SELECT id, lower(title), lower(author), content FROM created RETURNING post_id;",
        insert.trim_end_matches(';')
    );
    workloads.push(("pgbench INSERT with the words, 32".to_owned(), Box::new(pgbench(with_words, 32))));
    let inserts = pgbench(insert, 32);
    workloads.push((
        "pgbench INSERT, 32".to_owned(),
        Box::new(move || {
            let sample = inserts();
            // Or the service would index their words in the midst of another workload.
            postgres.execute(
                "posts_bench",
                "DELETE FROM posts WHERE NOT EXISTS (SELECT FROM posts_search WHERE post_id = id)",
            );
            sample
        }),
    ));
    workloads.push(("POST, 32".to_owned(), Box::new(move || served.turn(&posts(program), 32))));
    workloads.push(("95 % GET, 5 % POST, 32".to_owned(), Box::new(move || served.turn(&mixed(program, count), 32))));
    run(options, report, &workloads);
    drop(workloads);
    drop(running_naively);
    drop(running);
    compare_sizes(postgres, options, report, client);
}

/// The same reads of few posts and of many.
fn compare_sizes(postgres: &Postgres, options: &Options, report: &mut Report, client: Client) {
    const FEW: usize = 10_000;
    if options.many == 0 || !options.wants("of many posts") {
        return;
    }
    let sizes = [("few", FEW), ("many", options.many)];
    let programs = sizes.map(|(name, count)| Program::start(&postgres.create(&format!("posts_bench_{name}"), count)));
    let all: Vec<_> = sizes
        .iter()
        .zip(&programs)
        .map(|((name, count), program)| {
            let served = Measured { program, database: postgres.process(), client, options };
            let search = format!("/posts?q={RARE_WORD}");
            let requests = [
                ("GET by id", gets(*count, "")),
                ("newest list", vec![get("/posts", "")]),
                ("page 400", vec![get(&served.page(400), "")]),
                ("search by newest", vec![get(&format!("{search}&sort=-created_on"), "")]),
                ("search by relevance", vec![get(&search, "")]),
            ];
            (name, served, requests)
        })
        .collect();
    let mut workloads: Vec<Workload<'_>> = Vec::new();
    for workload in 0..5 {
        for (name, served, requests) in &all {
            let (of, requests) = &requests[workload];
            workloads.push((format!("{of}, of {name} posts"), Box::new(move || served.turn(requests, 32))));
        }
    }
    run(options, report, &workloads);
}

/// Everything on SQLite.
pub(crate) fn on_sqlite(options: &Options, report: &mut Report) {
    // Beside what is built, which is on a disk: in memory, a commit would cost nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("posts.db");
    create_sqlite(&path, options.posts);
    let url = format!("sqlite:{}", path.display());
    create_author(&url);
    let program = Program::start(&url);
    let client = Client::choose(options.own_client);
    let served = Measured { program: &program, database: None, client, options };
    report.note_sync(sync_milliseconds(folder.path()));
    let reference = folder.path().join("reference.db");
    create_sqlite(&reference, options.posts);

    let count = options.posts;
    let by_id = gets(count, "");
    let newest = vec![get("/posts", "")];
    let deep = vec![get(&served.page((count / 20).min(1000)), "")];
    let search = vec![get(&format!("/posts?q={RARE_WORD}"), "")];
    let workloads: Vec<Workload<'_>> = vec![
        ("SQLite: GET by id, 32".to_owned(), Box::new(|| served.turn(&by_id, 32))),
        ("SQLite: GET by id, 128".to_owned(), Box::new(|| served.turn(&by_id, 128))),
        ("SQLite: newest list, 32".to_owned(), Box::new(|| served.turn(&newest, 32))),
        ("SQLite: page 1,000, 32".to_owned(), Box::new(|| served.turn(&deep, 32))),
        ("SQLite: search by relevance, 32".to_owned(), Box::new(|| served.turn(&search, 32))),
        ("SQLite: one commit a write".to_owned(), Box::new(|| one_commit_a_write(&reference, options))),
        ("SQLite: POST, 32".to_owned(), Box::new(|| served.turn(&posts(&program), 32))),
        ("SQLite: 95 % GET, 5 % POST, 32".to_owned(), Box::new(|| served.turn(&mixed(&program, count), 32))),
    ];
    run(options, report, &workloads);
}

/// The same rows, each in a transaction of its own that is on the disk before the next begins; no HTTP.
fn one_commit_a_write(path: &Path, options: &Options) -> Sample {
    let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON").unwrap();
    let (title, author, content) = new_post();
    let statements = format!(
        "BEGIN IMMEDIATE; \
         INSERT INTO posts (title, author, content, created_on, updated_on) VALUES \
         ('{title}', '{author}', '{content}', '2026-11-26T00:00:00.000000Z', '2026-11-26T00:00:00.000000Z'); \
         INSERT INTO posts_search (rowid, title, author, content) \
         VALUES (last_insert_rowid(), lower('{title}'), lower('{author}'), '{content}'); COMMIT"
    );
    let begin = std::time::Instant::now();
    let mut writes = 0_u32;
    while begin.elapsed() < options.turn() {
        connection.batch_execute(&statements).unwrap();
        writes += 1;
    }
    Sample::of_rate(f64::from(writes) / begin.elapsed().as_secs_f64())
}

//! Who gets in: people with a browser's habits, programs with tokens.

mod support;

use support::Hub;
use support::curl::{Browser, PASSWORD};

/// The link of the first start makes one administrator, once.
#[tokio::test]
async fn the_first_link_lets_one_in_once() {
    let mut hub = Hub::start_with(&[]).await;
    let link = hub.setup.clone().unwrap();
    let browser = Browser::new(&hub, "first");
    let page = browser.get(&link).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains(r#"action="/web/setup""#), "{page:?}");
    let secret = link.split_once('=').unwrap().1;
    let fields = |secret, password| [("secret", secret), ("name", "ada"), ("password", password), ("again", password)];
    assert_eq!(browser.form("/web/setup", &fields("guessed", PASSWORD)).await.status, 403);
    let weak = browser.form("/web/setup", &fields(secret, "password")).await;
    assert_eq!(weak.status, 400);
    assert!(weak.body.contains("12 to 128 characters"), "{weak:?}");
    assert_eq!(browser.form("/web/setup", &fields(secret, PASSWORD)).await.status, 303);
    assert_eq!(browser.form("/web/setup", &fields(secret, PASSWORD)).await.status, 403);
    assert_eq!(browser.get(&link).await.status, 403);
    assert_eq!(browser.login("ada", PASSWORD).await.status, 303);
    assert_eq!(browser.get("/api/v1/me").await.json()["role"], "admin");
    hub.restart().await;
    assert_eq!(hub.setup, None);
}

/// A user logs in, is known, and logs out; whoever is wrong does not learn what was wrong.
#[tokio::test]
async fn one_logs_in_and_out() {
    let hub = Hub::start_with(&[]).await;
    hub.user("ada", "read").await;
    let browser = Browser::new(&hub, "ada");
    let wrong = browser.login("ada", "not the password").await;
    let nobody = browser.login("bob", PASSWORD).await;
    assert_eq!((wrong.status, nobody.status), (401, 401));
    assert_eq!(wrong.body, nobody.body);
    assert_eq!(wrong.header("set-cookie"), "");

    let right = browser.login("ada", PASSWORD).await;
    assert_eq!((right.status, right.header("location")), (303, "/web/pods?a=b"));
    let cookie = right.header("set-cookie");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    let me = browser.get("/api/v1/me").await.json();
    assert_eq!((&me["name"], &me["role"]), (&"ada".into(), &"read".into()));

    let before = std::fs::read(&browser.jar).unwrap();
    assert_eq!(browser.login("ada", PASSWORD).await.status, 303);
    let now = std::fs::read(&browser.jar).unwrap();
    std::fs::write(&browser.jar, before).unwrap();
    assert_eq!(browser.get("/api/v1/me").await.status, 401, "who logs in again has another session");
    std::fs::write(&browser.jar, now).unwrap();
    let me = browser.get("/api/v1/me").await.json();

    assert_eq!(browser.form("/web/logout", &[]).await.status, 403);
    assert_eq!(browser.form("/web/logout", &[("csrf", "guessed")]).await.status, 403);
    let spare = std::fs::read(&browser.jar).unwrap();
    let out = browser.form("/web/logout", &[("csrf", me["csrf"].as_str().unwrap())]).await;
    assert_eq!((out.status, out.header("location")), (303, "/web/login"));
    // The cookie that was copied before is of no use either.
    std::fs::write(&browser.jar, spare).unwrap();
    assert_eq!(browser.get("/api/v1/me").await.status, 401);
}

/// Each wrong password beyond five makes the next wait, also the right one; other users go on.
#[tokio::test]
async fn guesses_are_slowed_down() {
    let hub = Hub::start_with(&[]).await;
    hub.user("ada", "read").await;
    hub.user("bob", "read").await;
    let browser = Browser::new(&hub, "guesser");
    for _ in 0..6 {
        assert_eq!(browser.login("ada", "not the password").await.status, 401);
    }
    let slowed = browser.login("ada", PASSWORD).await;
    assert_eq!((slowed.status, slowed.header("retry-after")), (429, "1"));
    assert_eq!(browser.login("bob", PASSWORD).await.status, 303);
    assert_eq!(browser.get("/api/v1/status").await.json()["refused"]["limited"], 1);
}

/// A session ends when it is not used, and in any case after its life.
#[tokio::test]
async fn sessions_end() {
    let idle = Hub::start_with(&["--session-idle", "3s"]).await;
    let life = Hub::start_with(&["--session-life", "3s"]).await;
    let (idle_browser, life_browser) = (Browser::new(&idle, "ada"), Browser::new(&life, "ada"));
    for (hub, browser) in [(&idle, &idle_browser), (&life, &life_browser)] {
        hub.user("ada", "read").await;
        assert_eq!(browser.login("ada", PASSWORD).await.status, 303);
        assert_eq!(browser.get("/api/v1/me").await.status, 200);
    }
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        assert_eq!(idle_browser.get("/api/v1/me").await.status, 200, "it is in use");
    }
    assert_eq!(life_browser.get("/api/v1/me").await.status, 401);
    tokio::time::sleep(std::time::Duration::from_millis(3_500)).await;
    assert_eq!(idle_browser.get("/api/v1/me").await.status, 401);
}

/// A cookie that is not exactly the one that was given is none, nor is what the database has of it.
#[tokio::test]
async fn cookies_cannot_be_made() {
    let hub = Hub::start_with(&[]).await;
    hub.user("ada", "admin").await;
    let browser = Browser::new(&hub, "ada");
    let cookie = browser.login("ada", PASSWORD).await.header("set-cookie").to_owned();
    let value = cookie.split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
    let other = Browser::new(&hub, "other");
    let with =
        async |value: &str| other.ask("/api/v1/me", &["--header", &format!("Cookie: podscope={value}")]).await.status;
    assert_eq!(with(&value).await, 200);
    let last = if value.ends_with('A') { "Q" } else { "A" };
    assert_eq!(with(&format!("{}{last}", &value[..value.len() - 1])).await, 401);
    assert_eq!(with(blake3::hash(value.as_bytes()).to_hex().as_str()).await, 401);
    assert_eq!(with("").await, 401);
    assert_eq!(with("' OR 1=1 --").await, 401);
}

/// A new password, and the removal of a user, end all sessions at once.
#[tokio::test]
async fn a_new_password_ends_sessions() {
    let hub = Hub::start_with(&[]).await;
    hub.user("ada", "admin").await;
    hub.user("bob", "read").await;
    let (ada, bob) = (Browser::new(&hub, "ada"), Browser::new(&hub, "bob"));
    ada.login("ada", PASSWORD).await;
    bob.login("bob", PASSWORD).await;
    hub.command(&["user", "password", "ada"], "another horse battery\n").await.unwrap();
    hub.command(&["user", "remove", "bob"], "").await.unwrap();
    for browser in [&ada, &bob] {
        assert_eq!(browser.get("/api/v1/me").await.status, 401);
    }
    assert_eq!(ada.login("ada", PASSWORD).await.status, 401);
    assert_eq!(ada.login("ada", "another horse battery").await.status, 303);
    assert_eq!(bob.login("bob", PASSWORD).await.status, 401);
}

/// Roles allow what they are for; a token does until it is removed or expires.
#[tokio::test]
async fn roles_and_tokens_allow_what_they_are_for() {
    let hub = Hub::start_with(&[]).await;
    let browser = Browser::new(&hub, "program");
    let (read, record) = (hub.token("reader", "read").await, hub.token("recorder", "record").await);
    let (admin, ingest) = (hub.token("boss", "admin").await, hub.token("agent", "ingest").await);
    let brief = ["token", "add", "--name", "brief", "--role", "read", "--expires", "1s"];
    let brief = hub.command(&brief, "").await.unwrap();
    for (token, status, audit) in [(&read, 200, 403), (&record, 200, 403), (&admin, 200, 200), (&ingest, 403, 403)] {
        assert_eq!(browser.bearer("/api/v1/status", token).await.status, status);
        assert_eq!(browser.bearer("/api/v1/audit", token).await.status, audit);
        let points = browser.points(token).await.status;
        assert_eq!(points, if *token == ingest { 200 } else { 403 });
    }
    // Nothing is there to be changed yet, but who may not is told so first.
    let delete = async |path: &str, token: &str| {
        let bearer = format!("Authorization: Bearer {token}");
        browser.ask(path, &["--request", "DELETE", "--header", &bearer]).await.status
    };
    assert_eq!((delete("/api/v1/none", &read).await, delete("/api/v1/none", &record).await), (403, 404));
    assert_eq!(delete("/api/v1/status", &record).await, 405);

    let changed = format!("{}A", &read[..read.len() - 1]);
    for wrong in ["", "podscope_", "x", &changed, &read.replace("podscope_", "")] {
        if wrong != read {
            assert_eq!(browser.bearer("/api/v1/status", wrong).await.status, 401, "{wrong}");
        }
    }
    hub.command(&["token", "remove", "reader"], "").await.unwrap();
    assert_eq!(browser.bearer("/api/v1/status", &read).await.status, 401);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(browser.bearer("/api/v1/status", brief.trim()).await.status, 401);
}

/// Whoever is not known is sent to log in, or told so in the words of the protocol.
#[tokio::test]
async fn strangers_are_told_to_log_in() {
    let hub = Hub::start_with(&[]).await;
    let browser = Browser::new(&hub, "stranger");
    let page = browser.get("/web/pods?namespace=shop").await;
    assert_eq!((page.status, page.header("location")), (303, "/web/login?next=%2Fweb%2Fpods%3Fnamespace%3Dshop"));
    let form = browser.get(page.header("location")).await;
    assert!(form.body.contains(r#"name="next" value="/web/pods?namespace=shop""#), "{form:?}");
    assert!(form.body.contains(r#"type="password" autocomplete="current-password""#), "{form:?}");
    let elsewhere = browser.get("/web/login?next=https%3A%2F%2Fevil.example%2F").await;
    assert!(elsewhere.body.contains(r#"name="next" value="/web/""#), "{elsewhere:?}");

    for path in ["/api/v1/status", "/api/v1/", "/api/v1/openapi.json", "/api/v1/none", "/none", "/API/v1/status"] {
        let api = browser.get(path).await;
        assert_eq!((api.status, api.header("www-authenticate")), (401, "Bearer realm=\"podscope\""), "{path}");
        assert_eq!(api.header("content-type"), "application/problem+json", "{path}");
    }
    let points = browser.points("").await;
    assert_eq!((points.status, &points.json()["code"]), (401, &16.into()));
    assert_eq!(browser.get("/healthz").await.status, 200);
    assert_eq!(browser.get("/readyz").await.status, 200);
}

/// A page of another site can neither log anybody in nor use an open hub under a name of its own.
#[tokio::test]
async fn other_sites_pages_are_refused() {
    let hub = Hub::start_with(&[]).await;
    hub.user("ada", "admin").await;
    let browser = Browser::new(&hub, "ada");
    let form = format!("name=ada&password={PASSWORD}").replace(' ', "+");
    for header in ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        let refused = browser.ask("/web/login", &["--data", &form, "--header", header]).await;
        assert_eq!(refused.status, 403, "{header}");
    }
    let own = format!("Origin: {}", browser.base);
    assert_eq!(browser.ask("/web/login", &["--data", &form, "--header", &own]).await.status, 303);

    let open = Hub::start().await;
    let browser = Browser::new(&open, "open");
    assert_eq!(browser.get("/api/v1/status").await.status, 200);
    assert_eq!(browser.ask("/api/v1/status", &["--header", "Host: rebound.example"]).await.status, 403);
    assert_eq!(
        browser.ask("/v1/metrics", &["--data", "{}", "--header", "Origin: http://evil.example"]).await.status,
        403
    );
}

/// What was done is written down, with who, from where and when; passwords are not.
#[tokio::test]
async fn what_was_done_is_written_down() {
    let hub = Hub::start_with(&[]).await;
    hub.user("ada", "admin").await;
    let browser = Browser::new(&hub, "ada");
    browser.login("ada", "not the password").await;
    browser.login(PASSWORD, "typed into the wrong field").await;
    browser.login("ada", PASSWORD).await;
    hub.token("agent", "ingest").await;
    let csrf = browser.get("/api/v1/me").await.json()["csrf"].as_str().unwrap().to_owned();
    let log = browser.get("/api/v1/audit?limit=3").await.json();
    let next = log["next"].as_i64().unwrap();
    let rest = browser.get(&format!("/api/v1/audit?before={next}")).await.json();
    let entries: Vec<_> = [log, rest].iter().flat_map(|log| log["entries"].as_array().unwrap().clone()).collect();
    let told: Vec<[&str; 4]> =
        entries.iter().map(|entry| ["who", "from", "what", "detail"].map(|key| entry[key].as_str().unwrap())).collect();
    let uid = told[0][0];
    let expected = [
        [uid, "command line", "token added", "agent (ingest)"],
        ["ada", "127.0.0.1", "login", ""],
        ["(no name)", "127.0.0.1", "login failed", ""],
        ["ada", "127.0.0.1", "login failed", ""],
        [uid, "command line", "user added", "ada (admin)"],
    ];
    assert_eq!(told, expected);
    assert!(entries.iter().all(|entry| (entry["time"].as_i64().unwrap() / 1_000 - hub.now).abs() < 60));
    browser.form("/web/logout", &[("csrf", &csrf)]).await;
    browser.login("ada", PASSWORD).await;
    assert_eq!(browser.get("/api/v1/audit?limit=2").await.json()["entries"][1]["what"], "logout");
}

/// The database and its journal hold no password, token or cookie.
#[tokio::test]
async fn secrets_are_not_kept() {
    let hub = Hub::start_with(&[]).await;
    let link = hub.setup.clone().unwrap();
    hub.user("ada", "admin").await;
    let token = hub.token("agent", "ingest").await;
    let browser = Browser::new(&hub, "ada");
    let cookie = browser.login("ada", PASSWORD).await.header("set-cookie").to_owned();
    let cookie = cookie.split([';', '=']).nth(1).unwrap();
    let (link, token) = (link.split_once('=').unwrap().1, token.splitn(3, '_').nth(2).unwrap());
    let files = ["hub.db", "hub.db-wal"].map(|name| std::fs::read(hub.folder.path().join(name)).unwrap()).concat();
    let kept = |text: &str| files.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(kept("$argon2id$") && kept("agent"), "the test reads the wrong files");
    for secret in [PASSWORD, link, token, cookie] {
        assert!(!kept(secret), "{secret}");
    }
}

/// The command line refuses what would be unsafe, and tells what there is.
#[tokio::test]
async fn the_command_line_keeps_users_and_tokens() {
    let hub = Hub::start_with(&[]).await;
    hub.user("ada", "admin").await;
    for (arguments, stdin, reason) in [
        (&["user", "add", "ada"][..], PASSWORD, "user ada is there already"),
        (&["user", "add", "b b"], PASSWORD, "is no name"),
        (&["user", "add", "bob"], "short", "12 to 128 characters"),
        (&["user", "add", "bob"], "", "12 to 128 characters"),
        (&["user", "add", "bob", "--role", "ingest"], PASSWORD, "role ingest is for tokens"),
        (&["user", "remove", "ada"], "", "the last admin"),
        (&["user", "password", "bob"], PASSWORD, "there is no user bob"),
        (&["token", "remove", "none"], "", "there is no token none"),
    ] {
        let error = hub.command(arguments, stdin).await.unwrap_err();
        assert!(error.contains(reason), "{arguments:?}: {error}");
    }
    let token = hub.token("agent", "ingest").await;
    let listed = hub.command(&["token", "list"], "").await.unwrap();
    assert!(listed.contains("ingest  agent") && !listed.contains(&token[30..]), "{listed}");
    assert!(hub.command(&["user", "list"], "").await.unwrap().ends_with("  admin  ada\n"));
}

/// The same on a server of the MySQL protocol: set up, log in, token, audit log, log out.
#[tokio::test(flavor = "multi_thread")]
async fn users_are_kept_on_mariadb() {
    let maria = support::process::Maria::start();
    let hub = Hub::start_on(tempfile::tempdir().unwrap(), maria.url(), &[]).await;
    let browser = Browser::new(&hub, "ada");
    let secret = hub.setup.as_deref().unwrap().split_once('=').unwrap().1;
    let fields = [("secret", secret), ("name", "ada"), ("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(browser.form("/web/setup", &fields).await.status, 303);
    assert_eq!(browser.form("/web/setup", &fields).await.status, 403);
    assert_eq!(browser.login("ADA", PASSWORD).await.status, 401, "names are told apart by case");
    assert_eq!(browser.login("ada", PASSWORD).await.status, 303);
    let me = browser.get("/api/v1/me").await.json();
    let token = hub.token("agent", "ingest").await;
    assert_eq!(browser.points(&token).await.status, 200);
    let error = hub.command(&["token", "add", "--name", "agent", "--role", "read"], "").await.unwrap_err();
    assert!(error.contains("token agent is there already"), "{error}");
    hub.command(&["token", "remove", "agent"], "").await.unwrap();
    assert_eq!(browser.points(&token).await.status, 401);
    let log = browser.get("/api/v1/audit").await.json();
    let done: Vec<&str> = log["entries"].as_array().unwrap().iter().filter_map(|one| one["what"].as_str()).collect();
    assert_eq!(done, ["token removed", "token added", "login", "login failed", "set up"]);
    assert_eq!(browser.form("/web/logout", &[("csrf", me["csrf"].as_str().unwrap())]).await.status, 303);
    assert_eq!(browser.get("/api/v1/me").await.status, 401);
}

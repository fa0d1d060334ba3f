//! What is taken out, and what stays.

use serde_json::json;

use super::*;

#[test]
fn names_of_secrets_are_known() {
    for name in [
        "DB_PASSWORD",
        "dbPassword",
        "PGPASSWORD",
        "db.pass",
        "api-key",
        "apiKey",
        "SSH_PRIVATE_KEY",
        "Authorization",
        "client_secret",
        "ROBO_TOKEN",
        "wpa_psk",
        "npm_auth",
        "Cookie",
        "Pwd",
        "--db-password",
        "AWS_SECRET_ACCESS_KEY",
    ] {
        assert!(is_secret(name), "{name}");
    }
    for name in ["key", "user", "path", "public_key", "keyboard", "bypass", "monkey", "port", "", "AGT_KEY", "PWD"] {
        assert!(!is_secret(name), "{name}");
    }
}

fn check(text: &str, expect: &str) {
    assert_eq!(Redactor::default().text(text), expect.replace('§', TAKEN), "{text}");
}

#[test]
fn values_of_secrets_are_taken_out() {
    check("DB_PASSWORD=correct horse battery", "DB_PASSWORD=§");
    check("export API_KEY='a b' more", "export API_KEY='§' more");
    check("level=info token=abc next=1", "level=info token=§ next=1");
    check("a=b&token=c d", "a=b&token=§ d");
    check("password: two words, user: me", "password: §");
    check(r#"{"user":"me","password":"a\"b","n":1}"#, r#"{"user":"me","password":"§","n":1}"#);
    check(r#"said "{\"token\":\"a b\",\"n\":1}""#, r#"said "{\"token\":\"§\",\"n\":1}""#);
    check(r#"{"secrets":{"a":"b"},"n":1}"#, r#"{"secrets":§"#);
    check("PASSWORD := x", "PASSWORD := §");
    check("secret => x", "secret => §");
    check("run --db-password hunter2 --port 80", "run --db-password § --port 80");
    check("run --password 'a b' x", "run --password '§' x");
    check("run --token --port 80", "run --token --port 80");
    check(r#"["--password", "x", "y"]"#, r#"["--password", "§", "y"]"#);
    check("Authorization: Bearer abc.def", "Authorization: §");
    check("sent bearer abcdefgh ijk", "sent bearer § ijk");
    check("amqp://me:p@ss@host:1/x ftp://host", "amqp://§@host:1/x ftp://host");
    check("x rbt1.00112233445566778899 y", "x § y");
    check("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "§");
    check("password:\n  hunter2\nuser: x", "password:\n§\nuser: x");
    check("  db_secret: |\n    a\n\n    b\n  user: x", "  db_secret: §\n§\n\n§\n  user: x");
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "",
        "\n\n",
        "2026-01-31T13:45:02Z INFO robo_agent::credentials: the certificate is renewed",
        "AGT_KEY: the key does not belong to the certificate",
        "key: /vm/db port=80 path=/a/b",
        "https://host/path?x=1 a@b.c",
        "sk-short eyJ",
        "token",
        "token=",
        "über=größe ü: =",
    ] {
        check(text, text);
    }
}

#[test]
fn private_keys_are_taken_out_as_a_whole_and_in_part() {
    let (begin, end) = ("-----BEGIN EC PRIVATE KEY-----", "-----END EC PRIVATE KEY-----");
    let line = "MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY0c9oAoGCCqGSM49";
    check(&format!("a\n{begin}\n{line}\nAw==\n{end}\nb"), "a\n§\n§\n§\n§\nb");
    check(&format!("{line}\nAw==\n{end}\nb\n"), "§\n§\n§\nb\n");
    check(&format!("a\n{begin}\n{line}\nAw"), "a\n§\n§\n§");
    check(&format!("{begin}\nProc-Type: 4\n\n{line}\n{end}\n"), "§\n§\n\n§\n§\n");
    check(&format!("x {begin}\\n{line}\\n{end} y"), "§");
    check("a short word\nAw==\n", "a short word\nAw==\n");
}

#[test]
fn known_secrets_are_taken_out_wherever_they_stand() {
    let mut redactor = Redactor::default();
    redactor.learn(&json!({
        "env": {"DB_PASSWORD": "hunter2-long", "USER": "somebody", "PIN_CODE_SECRET": 12_345_678},
        "list": [{"name": "api_token", "value": "tok-en"}, {"name": "user", "value": "somebody"}],
        "url": "https://me:swordfish@host",
    }));
    redactor.know("hunter2");
    redactor.know("abc");
    let text = "x hunter2-long y hunter2 somebody 12345678 tok-en ütok-en swordfish abc";
    let expect = "x § y § somebody § § ü§ § abc".replace('§', TAKEN);
    assert_eq!((redactor.text(text), redactor.taken()), (expect, 6));
}

#[test]
fn values_as_data_are_taken_out() {
    let value = json!({
        "key": {"path": "/a"}, "password": ["a", "b"], "token": null, "secret": true,
        "argv": ["run", "--password", "x", "--port", "80", "--token=abc"],
        "pairs": [{"name": "DB_PASS", "value": "x"}], "said": "password=x"
    });
    let expect = json!({
        "key": {"path": "/a"}, "password": TAKEN, "token": null, "secret": true,
        "argv": ["run", "--password", TAKEN, "--port", "80", format!("--token={TAKEN}")],
        "pairs": [{"name": "DB_PASS", "value": TAKEN}], "said": format!("password={TAKEN}")
    });
    assert_eq!(Redactor::default().value(value), expect);
}

#[test]
fn long_lines_take_no_long_time() {
    for piece in ["a=b&", "token=", "\\\"", "-----BEGIN PRIVATE KEY", "://@", "a: ", "eyJ", "- --token "] {
        let text = piece.repeat(300_000 / piece.len());
        assert!(Redactor::default().text(&text).len() <= 2 * text.len() + TAKEN.len() * 100_000);
    }
}

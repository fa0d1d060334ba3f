//! What can be wrong on a device, for the agent's log and its doctor. The manager knows the same codes.

pub use robo_wire::code::Code;

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;

    const HEAD: &str = "\
# What can be wrong on a device

Each has a code that does not change. The agent logs it, `robo-agent doctor` prints it with what it found, and the script
that installs the agent prints it and reports it to the manager, where `robo device inspect` shows it. How the link finds
its way, and what it needs of a network, is in [network.md](network.md).

This page is generated from `wire/src/code.rs`; `ROBO_BLESS=1 cargo test -p robo-agent agent_codes` writes it anew.

| code | cause | remedy |
|---|---|---|
";

    #[test]
    fn agent_codes_md_has_each_code_with_cause_and_remedy() {
        let mut text = HEAD.to_owned();
        for code in Code::ALL {
            assert!(code.as_str().starts_with("AGT_") && code.cause().ends_with('.'), "{code}");
            assert!(code.remedy().ends_with(['.', '?']), "{code}");
            writeln!(text, "| {code} | {} | {} |", code.cause(), code.remedy()).unwrap();
        }
        let names: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agent-codes.md");
        if std::env::var_os("ROBO_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let same = std::fs::read_to_string(&path).is_ok_and(|kept| kept == text);
        assert!(same, "docs/agent-codes.md is not what the table says; write it anew with ROBO_BLESS=1");
    }
}

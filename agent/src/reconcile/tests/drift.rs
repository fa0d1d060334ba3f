//! What changes behind our back.

use robo_model::graph::{Check, Drift, Probe};
use robo_model::quantity::Millis;
use robo_model::state::InstanceState;
use robo_wire::event::EventBody;

use super::super::sim::World;
use super::{VM, WEB, edit, web};

fn with(drift: Drift) -> World {
    let mut world = web("run", &[]);
    edit(&mut world, WEB, |s| {
        s.settings.drift = drift;
        let probe = Probe::Tcp { port: "1".into() };
        s.settings.check = Some(Check { probe, every: Millis(1_000), timeout: Millis(1_000) });
    });
    world.run();
    world.ordered();
    world
}

fn told(world: &World) -> Vec<Vec<String>> {
    let drift = |body: &EventBody| if let EventBody::Drift { changes } = body { Some(changes.clone()) } else { None };
    world.core.ledger().state.spool.iter().filter_map(|event| drift(&event.body)).collect()
}

#[test]
fn it_is_told_once_and_disturbs_nothing() {
    let mut world = with(Drift::Report);
    world.drift(WEB, &["scripts/start.sh changed"]);
    world.drift(WEB, &["scripts/start.sh changed"]);
    world.drift(VM, &["a machine has no recipe"]);
    world.health(WEB, false);
    world.run_long();
    assert_eq!(world.ordered(), [""; 0]);
    assert_eq!(world.report(WEB).drift, ["scripts/start.sh changed"]);
    world.crash();
    world.run();
    assert_eq!(world.report(WEB).drift, ["scripts/start.sh changed"]);
    world.drift(WEB, &[]);
    assert_eq!(told(&world), [vec!["scripts/start.sh changed".to_owned()], vec![]]);
}

#[test]
fn files_are_put_back_and_ever_later_when_they_change_again() {
    let mut world = with(Drift::Heal);
    for wait in [0, 1, 2, 4] {
        world.drift(WEB, &["a.conf changed"]);
        assert_eq!(world.core.wake_at(), (wait > 0).then(|| world.now.plus(Millis::from_secs(wait))), "{wait}");
        world.run_long();
        assert_eq!(world.ordered(), ["stop /vm/web", "deploy /vm/web", "start /vm/web"]);
        assert_eq!((world.state(WEB), world.report(WEB).drift.len()), (InstanceState::DeployedStarted, 0));
    }
    world.pass(Millis::from_secs(600));
    world.drift(WEB, &["a.conf changed"]);
    assert!(!world.running.is_empty(), "at once again");
    assert_eq!(told(&world).iter().filter(|changes| changes.is_empty()).count(), 4);
}

#[test]
fn what_is_stopped_is_put_right_and_stays_stopped() {
    let mut world = with(Drift::Heal);
    world.wish(WEB, robo_model::state::Wanted::Stopped);
    world.run();
    world.ordered();
    world.drift(WEB, &["a.conf is gone"]);
    world.run();
    assert_eq!(
        (world.ordered(), world.state(WEB)),
        (vec!["deploy /vm/web".to_owned()], InstanceState::DeployedStopped)
    );
}

#[test]
fn a_check_that_fails_for_good_restarts_with_growing_waits() {
    let mut world = with(Drift::Heal);
    world.input(super::super::Input::Connected { events_stored: 0 });
    for wait in [1, 2, 4] {
        world.health(WEB, false);
        world.health(WEB, false);
        world.run();
        assert_eq!(world.ordered(), ["stop /vm/web"], "it waits for nobody");
        assert_eq!(world.report(WEB).failure.unwrap().reason, "503");
        assert_eq!(world.core.wake_at(), Some(world.now.plus(Millis::from_secs(wait))));
        world.run_long();
        assert_eq!(world.ordered(), ["start /vm/web"]);
    }
    assert_eq!(world.report(WEB).restarts, 3);
    world.pass(Millis::from_secs(16));
    world.health(WEB, false);
    world.run();
    assert_eq!(world.ordered(), ["stop /vm/web", "start /vm/web"], "it was well for long enough");
}

//! What breaks, and when the weather clears.

use super::net::Side;
use super::schedule::{SECOND, Time};
use super::story::What;
use super::world::{Event, World};

impl World {
    /// A deed of the story happens.
    pub(super) fn deed(&mut self, at: usize) {
        let what = self.story.deeds[at].what.clone();
        self.note(|| format!("*** {what:?}"));
        if what.is_by_people() { self.people_do(what) } else { self.breaks(&what) }
    }

    fn breaks(&mut self, what: &What) {
        match *what {
            What::KillAgent { device, down } => {
                let device = self.pick(device);
                let life = self.agents[device].life;
                self.killed(device, life, down);
            }
            What::KillAtWrite { device, writes, down } => {
                let device = self.pick(device);
                self.agents[device].kill_at_write = Some((writes, down));
            }
            What::Reboot { device, down } => self.reboot(device, down),
            What::Freeze { device, time } => {
                let (device, until) = (self.pick(device), self.until(time));
                self.agents[device].frozen_until = until;
                self.watch.disturbed(device, until);
            }
            What::FillDisk { device, time } => {
                let (device, until) = (self.pick(device), self.until(time));
                self.agents[device].disk_full_until = until;
                self.watch.disturbed(device, until + SECOND);
            }
            What::JumpClock { device, by } => {
                let device = self.pick(device);
                self.agents[device].clock = (self.agents[device].clock + by).max(-(super::world::EPOCH as i64) / 2);
                let now = self.now();
                self.watch.disturbed(device, now);
            }
            What::KillManager { down } => {
                let back = self.until(down);
                self.manager_dies(back);
            }
            What::Cut { device } => {
                let device = self.pick(device);
                self.cut(device);
            }
            What::Block { device, time } => self.block(device, time),
            What::Partition { time, odd } => {
                for device in (usize::from(odd)..self.agents.len()).step_by(2) {
                    self.block(device, time);
                }
            }
            What::Slow { device, by, time } => {
                let (device, until) = (self.pick(device), self.until(time));
                self.net.slow(device, by, until);
                self.watch.disturbed(device, until + by);
            }
            What::LoseBells { time } => {
                let until = self.until(time);
                self.manager.bells_bad_until = until;
                // What was lost is found at the next look.
                self.watch.all_disturbed(until + 65 * SECOND);
            }
            What::EndProcess { device, pick, code } => self.end_process(device, pick, code),
            What::Apply { .. }
            | What::Save { .. }
            | What::ApplySaved { .. }
            | What::Rollback { .. }
            | What::Ask { .. }
            | What::Delete { .. }
            | What::Bind { .. }
            | What::Act { .. }
            | What::Enrol
            | What::Remove { .. }
            | What::Label { .. } => {}
        }
    }

    pub(super) const fn pick(&self, device: usize) -> usize {
        device % self.agents.len()
    }

    pub(super) fn cut(&mut self, device: usize) {
        if let Some((_, conn)) = self.agents[device].conn {
            let now = self.now();
            self.watch.disturbed(device, now);
            let arrivals = self.net.cut(now, conn);
            self.arrive(arrivals);
        }
    }

    fn block(&mut self, device: usize, time: Time) {
        let (device, until) = (self.pick(device), self.until(time));
        self.net.block(device, until);
        // Arrivals that were due earlier find nothing; they come again when the way is free.
        if let Some((_, conn)) = self.agents[device].conn {
            self.schedule.at(until, Event::Arrive(conn, Side::Agent));
            self.schedule.at(until, Event::Arrive(conn, Side::Manager));
        }
        self.watch.disturbed(device, until);
    }

    fn reboot(&mut self, device: usize, down: Time) {
        let (device, back) = (self.pick(device), self.until(down));
        self.note(|| format!("d{device}: loses power"));
        self.agent_ends(device, back, true);
        self.agents[device].machine.reboot();
        self.agents[device].frozen_until = 0;
    }

    fn end_process(&mut self, device: usize, pick: usize, code: Option<i32>) {
        let device = self.pick(device);
        if self.agents[device].frozen_until > self.now() {
            return;
        }
        let Some((key, report)) = self.agents[device].machine.end_process(pick, code) else { return };
        self.note(|| format!("d{device}: the process of {key} ends"));
        self.report(device, [report]);
    }

    /// The weather clears: nothing breaks, fails or hangs from here on, and whatever was given up is tried again.
    pub(super) fn clear_up(&mut self) {
        self.note(|| "*** the weather clears".to_owned());
        self.calm = true;
        self.net.calm();
        let now = self.now();
        self.manager.bells_bad_until = 0;
        for device in 0..self.agents.len() {
            let agent = &mut self.agents[device];
            agent.kill_at_write = None;
            for (run, ends) in agent.machine.calm(now) {
                self.schedule.at(ends, Event::StepEnds { device, run });
            }
        }
        self.schedule.after(20 * SECOND, Event::Look);
    }
}

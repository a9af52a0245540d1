//! Work that waits for the journal: one durable write for all that wait.
//!
//! Whoever finds nobody writing takes along what others brought meanwhile: many who come one by one wait for the disk as often as one who
//! gathers. What became of each is known when it is durable, and not before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use tokio::sync::oneshot;

use crate::api::Problem;

/// Where they wait. What is of the same `K` is written together, in parts of `most`.
#[derive(Debug)]
pub(crate) struct Desk<K, T, O> {
    /// Held by whoever writes.
    turn: Arc<tokio::sync::Mutex<()>>,
    waiting: Mutex<VecDeque<Waiting<K, T, O>>>,
    most: usize,
    /// Requests that may wait: each holds memory.
    waiting_max: usize,
    /// Stable word for who finds too many here.
    busy: &'static str,
}

#[derive(Debug)]
struct Waiting<K, T, O> {
    of: K,
    batch: Vec<T>,
    answer: oneshot::Sender<Result<Vec<O>, Problem>>,
}

impl<K, T, O> Desk<K, T, O>
where
    K: Clone + PartialEq + Send + 'static,
    T: Send + 'static,
    O: Send + 'static,
{
    pub(crate) fn new(most: usize, waiting_max: usize, busy: &'static str) -> Self {
        Self { turn: Arc::default(), waiting: Mutex::default(), most, waiting_max, busy }
    }

    /// Waits until it is durable, together with what else waits. `settle` writes, and says what became of each.
    pub(crate) async fn write(
        &self,
        of: K,
        batch: Vec<T>,
        settle: impl FnOnce(&K, Vec<T>) -> Result<Vec<O>, Problem> + Clone + Send + 'static,
    ) -> Result<Vec<O>, Problem> {
        let (answer, mut mine) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.len() >= self.waiting_max {
                return Err(self.full());
            }
            waiting.push_back(Waiting { of, batch, answer });
        }
        loop {
            let turn = tokio::select! {
                biased;
                done = &mut mine => return done.unwrap_or_else(|error| Err(given_up(&error))),
                turn = Arc::clone(&self.turn).lock_owned() => turn,
            };
            let (group, settle) = (self.group(), settle.clone());
            // It goes on when whoever asked goes away: others wait for it too.
            let written = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                answer_all(group, settle);
            });
            written.await.map_err(|error| given_up(&error))?;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting<K, T, O>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self) -> Problem {
        let why = "too many wait to be written";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut problem = Problem::new(status, self.busy, "the journal", why);
        problem.retry_after_s = Some(1);
        problem
    }

    /// The first that waits, and all others of the same sort, as many as one command takes.
    fn group(&self) -> Vec<Waiting<K, T, O>> {
        let mut waiting = self.waiting();
        let Some(of) = waiting.front().map(|first| first.of.clone()) else {
            return Vec::new();
        };
        let (mut group, mut rest, mut size) = (Vec::new(), VecDeque::new(), 0_usize);
        for one in waiting.drain(..) {
            let with = size.saturating_add(one.batch.len());
            // What is behind one that does not fit stays behind it.
            if one.of == of && with <= self.most {
                size = with;
                group.push(one);
            } else {
                if one.of == of {
                    size = self.most;
                }
                rest.push_back(one);
            }
        }
        *waiting = rest;
        group
    }
}

fn answer_all<K, T, O>(
    group: Vec<Waiting<K, T, O>>,
    settle: impl FnOnce(&K, Vec<T>) -> Result<Vec<O>, Problem>,
) {
    let mut batch = Vec::new();
    let mut answers = Vec::new();
    let mut of = None;
    for Waiting { of: whose, batch: mut more, answer } in group {
        answers.push((more.len(), answer));
        batch.append(&mut more);
        of = Some(whose);
    }
    let Some(of) = of else { return };
    match settle(&of, batch) {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            for (count, answer) in answers {
                // Whoever asked may have gone away.
                let _ = answer.send(Ok(outcomes.by_ref().take(count).collect()));
            }
        }
        Err(problem) => {
            for (_, answer) in answers {
                let _ = answer.send(Err(problem.clone()));
            }
        }
    }
}

pub(crate) fn given_up(error: &dyn std::fmt::Display) -> Problem {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Problem::new(status, "internal", "the request was given up", error.to_string())
}

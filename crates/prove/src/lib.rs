//! The solver behind standing claims: Cedar's symbolic compiler and the program `cvc5`.
//!
//! A question is compiled to SMT-LIB by `cedar-policy-symcc` (formally modelled by Cedar's authors) and handed
//! to a `cvc5` process of its own, with a limit of time. What the solver says is believed only when it is
//! `unsat` (proved) or a model that decodes to a request and an estate; anything else is "not found out".
//!
//! This crate must never know why a claim is made, nor judge one: it answers [`policy::prove::Question`]s.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use cedar_policy::{
    Entities, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, RequestEnv, Schema,
};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet, Env};
use policy::prove::{Answer, Example, Question, Solver};
use tokio::process::Command;
use tokio::runtime::{Builder, Runtime};

/// Why there is no solver.
#[derive(Debug, thiserror::Error)]
pub enum NoSolver {
    /// The program is not there.
    #[error("the program `{}` cannot be started: {why}; install the Debian package cvc5", program.display())]
    Missing {
        /// Program.
        program: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The runtime that talks to it cannot be made.
    #[error("the solver cannot be talked to: {0}")]
    Runtime(std::io::Error),
}

/// `cvc5`, started anew for every question.
#[derive(Debug)]
pub struct Cvc5 {
    runtime: Runtime,
    program: PathBuf,
    version: String,
    limit: Duration,
    /// Policies of the last question, compiled: those of one folder are the same for all its claims.
    compiled: Option<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    schema_text: String,
    texts: Vec<(String, String)>,
    schema: Schema,
    environment: RequestEnv,
    policies: CompiledPolicySet,
}

impl Cvc5 {
    /// Looks for the program and asks for its version. `limit` is what one question may take.
    pub fn find(program: &Path, limit: Duration) -> Result<Self, NoSolver> {
        let missing = |why: String| NoSolver::Missing { program: program.to_owned(), why };
        let output = std::process::Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| missing(error.to_string()))?;
        if !output.status.success() {
            return Err(missing(format!("it ends with {}", output.status)));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said.lines().next().unwrap_or("").trim().to_owned();
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(NoSolver::Runtime)?;
        Ok(Self { runtime, program: program.to_owned(), version, limit, compiled: None })
    }

    /// What it says of itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    fn decide(&mut self, question: &Question<'_>) -> Result<Option<Env>, String> {
        let fits = self.compiled.as_ref().is_some_and(|compiled| {
            compiled.schema_text == question.schema && compiled.texts == question.policies
        });
        if !fits {
            self.compiled = Some(Compiled::of(question)?);
        }
        let Some(compiled) = &self.compiled else {
            return Err("the policies were not compiled".to_owned());
        };
        let probe = set(&[("probe".to_owned(), question.probe.to_owned())])?;
        let probe = CompiledPolicySet::compile(&probe, &compiled.environment, &compiled.schema)
            .map_err(|error| format!("the probe does not compile: {error}"))?;
        let milliseconds = self.limit.as_millis().to_string();
        let (program, limit) = (&self.program, self.limit);
        self.runtime.block_on(async {
            let mut command = Command::new(program);
            command.args(["--lang", "smt", &format!("--tlimit={milliseconds}")]).kill_on_drop(true);
            let solver = LocalSolver::from_command(&mut command)
                .map_err(|error| format!("{} does not start: {error}", program.display()))?;
            let mut compiler = CedarSymCompiler::new(solver).map_err(|error| error.to_string())?;
            let asked = compiler.check_disjoint_with_counterexample_opt(&compiled.policies, &probe);
            match tokio::time::timeout(limit, asked).await {
                Ok(answer) => answer.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
            }
        })
    }
}

impl Solver for Cvc5 {
    fn ask(&mut self, question: &Question<'_>) -> Answer {
        match self.decide(question) {
            Ok(None) => Answer::Never,
            Ok(Some(env)) => Answer::Example(example(&env)),
            Err(why) => Answer::Unknown(why),
        }
    }
}

impl Compiled {
    fn of(question: &Question<'_>) -> Result<Self, String> {
        let (schema, _) =
            Schema::from_cedarschema_str(question.schema).map_err(|error| error.to_string())?;
        let kind = |name| EntityTypeName::from_str(name).map_err(|error| error.to_string());
        let connect = EntityUid::from_type_name_and_id(kind("Action")?, EntityId::new("connect"));
        let environment = RequestEnv::new(kind("Device")?, connect, kind("Service")?);
        let policies = CompiledPolicySet::compile(&set(question.policies)?, &environment, &schema)
            .map_err(|error| format!("the policies do not compile: {error}"))?;
        Ok(Self {
            schema_text: question.schema.to_owned(),
            texts: question.policies.to_vec(),
            schema,
            environment,
            policies,
        })
    }
}

fn set(texts: &[(String, String)]) -> Result<PolicySet, String> {
    let mut set = PolicySet::new();
    for (id, text) in texts {
        let policy = cedar_policy::Policy::parse(Some(PolicyId::new(id)), text)
            .map_err(|error| format!("`{id}`: {error}"))?;
        set.add(policy).map_err(|error| format!("`{id}`: {error}"))?;
    }
    Ok(set)
}

/// The counterexample in words.
fn example(env: &Env) -> Example {
    let words = |uid: Option<&EntityUid>, attributes: &[&str]| {
        uid.map_or_else(|| "any".to_owned(), |uid| described(&env.entities, uid, attributes))
    };
    Example {
        device: words(
            env.request.principal(),
            &["type", "zone", "owner", "assurance", "support", "exposure", "posture"],
        ),
        service: words(
            env.request.resource(),
            &["zone", "scope", "protocol", "port", "application", "sensitive"],
        ),
    }
}

fn described(entities: &Entities, uid: &EntityUid, attributes: &[&str]) -> String {
    let Some(entity) = entities.get(uid) else {
        return uid.to_string();
    };
    let parts: Vec<String> = attributes
        .iter()
        .filter_map(|name| Some(format!("{name} {}", entity.attr(name)?.ok()?)))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: &str = "permit (principal in Zone::\"main/cameras\", action == Action::\"connect\", resource in Zone::\"main/recorders\");";

    fn probe(to: &str) -> String {
        format!(
            "permit (principal is Device, action == Action::\"connect\", resource is Service)\nwhen {{ principal.zone.class == \"cameras\" && resource.zone.class == \"{to}\" }}\nwhen {{ (resource in Zone::\"main/recorders\") == (resource.zone == Zone::\"main/recorders\") }}\nwhen {{ Zone::\"main/recorders\".class == \"recorders\" }};"
        )
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Cvc5::find(Path::new("no-such-solver"), Duration::from_secs(1)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no-such-solver") && text.contains("Debian package cvc5"), "{text}");
    }

    #[test]
    fn proves_and_finds_examples() {
        let mut solver = match Cvc5::find(Path::new("cvc5"), Duration::from_secs(60)) {
            Ok(solver) => solver,
            Err(error) => {
                let strict = std::env::var_os("RINGFENCE_STRICT").is_some();
                assert!(!strict, "{error}");
                eprintln!("skipped proves_and_finds_examples: {error}");
                return;
            }
        };
        let policies = [("a".to_owned(), POLICIES.to_owned())];
        let mut ask = |to: &str| {
            let probe = probe(to);
            let schema = policy::folder::SCHEMA;
            solver.ask(&Question { schema, policies: &policies, probe: &probe })
        };
        assert_eq!(ask("tills"), Answer::Never);
        let Answer::Example(example) = ask("recorders") else { panic!("recorders are reached") };
        assert!(example.service.contains("main/recorders"), "{example:?}");
    }
}

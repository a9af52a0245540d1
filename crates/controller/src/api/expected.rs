//! Devices that were bought, and will come with their makers' certificates.

use axum::Json;
use axum::extract::State;
use estate::access::rbac::{Action, Place};
use estate::identities::{self, EXPECT_MAX, Expected};
use estate::{Command, Refusal};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::credentials::editable;
use super::page::{Page, Paging};
use super::{Api, Body, Problem, Query, Who, reason};

/// A device that is expected.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ExpectedDevice)]
#[serde(deny_unknown_fields)]
pub struct One {
    /// Who made it: the name of the file with the maker's root, `axis` for `pki/makers/axis.pem`.
    pub maker: String,
    /// Its serial number, as the maker's certificate has it.
    pub number: String,
    /// Which device it is.
    pub device: String,
    /// It came.
    #[serde(default, skip_deserializing)]
    pub came: bool,
}

/// Devices that are expected.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ExpectDevices)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Each of them; 1,000 at most.
    pub expected: Vec<One>,
    /// Why.
    pub why: String,
}

/// How many that is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExpectedCount)]
pub struct Count {
    /// Those that were not expected before.
    pub new: usize,
    /// Of a dry run: those that nothing would come of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<Wrong>,
}

/// Whether anything is done.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Dry {
    /// All of the list is judged, and nothing of it is taken.
    pub dry_run: Option<bool>,
}

impl Dry {
    /// Nothing is done.
    pub fn is_dry(self) -> bool {
        self.dry_run == Some(true)
    }
}

/// One of a list that is not as it should be.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = WrongItem)]
pub struct Wrong {
    /// Which, from 0.
    pub at: usize,
    /// Stable word for programs.
    #[schema(value_type = String)]
    pub code: &'static str,
    /// What and why.
    pub detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub help: String,
}

/// Which of a list are wrong, and how many would be new. First what it takes to name each, then what the estate says of those that are named.
pub(super) fn judged<I, O>(
    items: impl IntoIterator<Item = Result<I, Problem>>,
    judge: impl FnOnce(&[I]) -> Vec<Result<Option<O>, Refusal>>,
) -> (usize, Vec<Wrong>) {
    let wrong = |at, problem: Problem| Wrong {
        at,
        code: problem.code,
        detail: format!("{}: {}", problem.title, problem.detail),
        help: problem.help,
    };
    let (mut sound, mut places, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (at, item) in items.into_iter().enumerate() {
        match item {
            Ok(item) => {
                sound.push(item);
                places.push(at);
            }
            Err(problem) => all.push(wrong(at, problem)),
        }
    }
    let mut new = 0_usize;
    for (at, judged) in places.into_iter().zip(judge(&sound)) {
        match judged {
            Ok(one) => new = new.saturating_add(usize::from(one.is_some())),
            Err(refusal) => all.push(wrong(at, refusal.into())),
        }
    }
    all.sort_by_key(|wrong| wrong.at);
    (new, all)
}

/// Devices that are expected with their makers' certificates, by maker and number; those of one's sites.
#[utoipa::path(get, path = "/v1/identities/expected", tag = "identities", params(Paging),
    responses((status = 200, body = Page<One>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<One>>, Problem> {
    let after = paging.after()?.unwrap_or_default();
    let named = |maker: &str, number: &str| format!("{maker}\t{number}");
    api.hub.read(|estate| {
        let sees = |id| estate.devices().get(id).is_some_and(|device| who.sees(&device.site));
        let all = estate.identities().all_expected();
        let shown = all.filter(|(maker, number, ..)| named(maker, number) > after);
        let shown = shown.filter(|(.., id, _)| sees(id)).map(|(maker, number, id, came)| One {
            maker: maker.to_owned(),
            number: number.to_owned(),
            device: id.to_string(),
            came,
        });
        Ok(Json(paging.of(shown, |one| named(&one.maker, &one.number))?))
    })
}

/// Says which of their makers' numbers are which devices. All of it, or nothing.
#[utoipa::path(post, path = "/v1/identities/expected", tag = "identities", params(Dry), request_body = Expect,
    responses((status = 200, body = Count), (status = "default", body = Problem)))]
pub async fn expect(
    State(api): State<Api>,
    who: Who,
    Query(dry): Query<Dry>,
    Body(order): Body<Expect>,
) -> Result<Json<Count>, Problem> {
    who.may(Action::IdentitiesEdit, Place::Somewhere)?;
    reason(&order.why)?;
    if order.expected.len() > EXPECT_MAX {
        let why = format!("{} devices; {EXPECT_MAX} at most", order.expected.len());
        return Err(Problem::invalid("the list", why).help("send several"));
    }
    let one = |one: One| {
        let (device, _) = editable(&api, &who, &one.device)?;
        Ok(Expected { maker: one.maker, number: one.number, device })
    };
    let all = order.expected.into_iter().map(one);
    if dry.is_dry() {
        let (new, wrong) = judged(all, |sound| {
            api.hub.read(|estate| {
                estate.identities().judge_expected(estate.devices(), sound).collect()
            })
        });
        return Ok(Json(Count { new, wrong }));
    }
    let expected: Result<Vec<Expected>, Problem> = all.collect();
    let command = Command::Identity(identities::Command::Expect { expected: expected? });
    let done = api.command(&who, order.why, command).await?;
    let new = done.events.iter().map(|event| match event {
        estate::Event::Identity(identities::Event::Expected { expected }) => expected.len(),
        _ => 0,
    });
    Ok(Json(Count { new: new.sum(), wrong: Vec::new() }))
}

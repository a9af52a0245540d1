//! The document that describes the API (OpenAPI 3.1), made from the code.

use axum::Json;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr};
use utoipa::{Modify, OpenApi};

use super::{
    approvals, console, credentials, devices, exceptions, expected, flows, imports, inventory,
    journal, keyring, keys, leases, live, login, operators, pki, policy, questions, reach, records,
    releases, requests, sites, standing, teams, tokens, views,
};

/// What answers are, unless they say otherwise.
const JSON: &str = "application/json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ringfence controller",
        description = "One estate behind an API. Errors are application/problem+json (RFC 9457) with a stable `code`; lists come in pages; things have an ETag.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        standing::healthz, standing::readyz, standing::metrics, standing::whoami, standing::levels, openapi,
        console::home, console::file,
        login::setup, login::login, login::logout, login::password,
        operators::list, operators::add, operators::get, operators::change, operators::password, operators::erase,
        tokens::list, tokens::make, tokens::revoke, approvals::list, approvals::answer,
        inventory::list, devices::get, devices::change, devices::edit, devices::retire_many, devices::report, imports::import, devices::retire, devices::history, flows::list,
        keys::list, keys::register, keys::revoke, keys::chains, keys::send,
        records::merge, records::apart, records::come_back, questions::list,
        expected::list, expected::expect,
        credentials::list, credentials::get, credentials::token, credentials::revoke, credentials::vouch, credentials::unvouch,
        requests::list, requests::answer, requests::findings,
        keyring::list, keyring::add, keyring::rotate, keyring::end,
        pki::root, pki::issuing, pki::complete, pki::delta, pki::issuers, pki::of_issuer, pki::ask, pki::ask_by_path,
        sites::list, sites::get, sites::create, sites::revoke, sites::token,
        teams::list, teams::get, teams::set, teams::remove,
        views::list, views::get, views::set, views::remove,
        policy::get, policy::set, policy::check, reach::plan,
        exceptions::list, exceptions::add, exceptions::get, exceptions::end,
        releases::list, releases::add, releases::get, releases::withdraw,
        reach::matrix, reach::device, reach::map, reach::worst, reach::why,
        leases::list, leases::decision, leases::replay,
        live::events, journal::standing, journal::checkpoint, journal::tile, journal::entries, journal::entry, journal::proof,
    ),
    modifiers(&Bearer, &Named, &Worded),
    security(("bearer" = [])),
)]
struct Ringfence;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

struct Named;

impl Modify for Named {
    /// An operation is named by its method and its path: generated clients find it by that, and no two are alike.
    fn modify(&self, document: &mut Document) {
        for (path, item) in &mut document.paths.paths {
            let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
            let path: Vec<&str> = words.filter(|word| *word != "v1").collect();
            for (method, operation) in [
                ("get", &mut item.get),
                ("put", &mut item.put),
                ("post", &mut item.post),
                ("patch", &mut item.patch),
                ("delete", &mut item.delete),
            ] {
                if let Some(operation) = operation {
                    let name = [&[method], &*path].concat().join("_");
                    operation.operation_id = Some(name);
                }
            }
        }
    }
}

struct Worded;

impl Modify for Worded {
    /// Faults are `application/problem+json`, and reasons are what the journal takes: said once, for all of them.
    fn modify(&self, document: &mut Document) {
        let fault = Ref::from_schema_name("Problem").ref_location;
        for item in document.paths.paths.values_mut() {
            let all =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
            for response in
                all.into_iter().flatten().flat_map(|o| o.responses.responses.values_mut())
            {
                let RefOr::T(response) = response else { continue };
                let is_fault = |content: &Content| match &content.schema {
                    Some(RefOr::Ref(schema)) => schema.ref_location == fault,
                    _ => false,
                };
                if response.content.get(JSON).is_some_and(is_fault)
                    && let Some(content) = response.content.swap_remove(JSON)
                {
                    response.content.insert("application/problem+json".to_owned(), content);
                }
            }
        }
        let schemas = document.components.iter_mut().flat_map(|c| c.schemas.values_mut());
        for schema in schemas {
            if let RefOr::T(Schema::Object(schema)) = schema
                && let Some(RefOr::T(Schema::Object(why))) = schema.properties.get_mut("why")
            {
                (why.min_length, why.max_length) = (Some(1), Some(4_096));
                why.pattern = Some(r"^[^\x00-\x09\x0b-\x1f\x7f-\x9f]+$".to_owned());
            }
        }
    }
}

/// The document.
pub fn document() -> Document {
    Ringfence::openapi()
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "standing", security(()), responses((status = 200, body = Object)))]
pub async fn openapi() -> Json<Document> {
    Json(document())
}

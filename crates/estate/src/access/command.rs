//! What can be commanded about access, and what comes of it.

use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ApprovalId, Grant, OperatorId, Role, Sites, TokenId};
use crate::side::{Commitment, Digest};

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Command {
    /// The host offers a secret with which the first operator is made, once. It takes the place of an earlier one.
    OfferSetup {
        /// SHA-256 of the secret.
        secret: Digest,
        /// Until then, a week at most.
        expires_at: Timestamp,
    },
    /// Whoever has the secret becomes the first operator, and may do everything.
    SetUp {
        /// SHA-256 of the secret.
        secret: Digest,
        /// Id of the operator.
        operator: OperatorId,
        /// Login, name and contact.
        profile: Commitment,
        /// Hash of the password.
        password: Commitment,
    },
    /// One more operator.
    AddOperator {
        /// Its id.
        operator: OperatorId,
        /// Login, name and contact.
        profile: Commitment,
        /// Hash of a password that has to be changed at the first login; `None`: no login by password.
        password: Option<Commitment>,
        /// What it may do.
        grant: Grant,
    },
    /// What an operator may do from now on.
    ChangeGrant {
        /// Which.
        operator: OperatorId,
        /// All of it.
        grant: Grant,
    },
    /// Another login, name or contact.
    ChangeProfile {
        /// Whose.
        operator: OperatorId,
        /// The new ones; the old record can be erased.
        profile: Commitment,
    },
    /// Another password. Set by somebody else, it has to be changed at the next login.
    ChangePassword {
        /// Whose.
        operator: OperatorId,
        /// The new one; the old record can be erased.
        password: Commitment,
    },
    /// An operator can do nothing any more, and its tokens neither.
    DisableOperator {
        /// Which.
        operator: OperatorId,
    },
    /// An operator can act again.
    EnableOperator {
        /// Which.
        operator: OperatorId,
    },
    /// The personal data of a disabled operator is erased, for good; its id stays in the journal.
    EraseOperator {
        /// Which.
        operator: OperatorId,
    },
    /// A person makes an API token for a program.
    MakeToken {
        /// Its id.
        token: TokenId,
        /// SHA-256 of its random secret.
        secret: Digest,
        /// What it is for.
        label: String,
        /// What it may do: no more than whoever makes it.
        grant: Grant,
        /// Until then, 366 days at most.
        expires_at: Timestamp,
    },
    /// A token is worth nothing from now on.
    RevokeToken {
        /// Which.
        token: TokenId,
    },
    /// A token was used; noted once an hour.
    NoteUse {
        /// Which.
        token: TokenId,
    },
    /// A command above a limit waits for a second person.
    Ask {
        /// Its id.
        approval: ApprovalId,
        /// The command, as JSON.
        command: String,
        /// Why it is needed.
        why: String,
        /// Role of whoever approves.
        needs: Role,
        /// Where whoever approves has to have it.
        sites: Sites,
        /// Until then, a week at most.
        expires_at: Timestamp,
    },
    /// A second person agrees.
    Approve {
        /// To which.
        approval: ApprovalId,
    },
    /// A second person does not agree, or who asked takes it back.
    Reject {
        /// Which.
        approval: ApprovalId,
    },
    /// The approved command was carried out: the approval is used up.
    Conclude {
        /// Which.
        approval: ApprovalId,
    },
}

impl Command {
    /// The type of its entry in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::OfferSetup { .. } => "setup.offer",
            Self::SetUp { .. } => "setup.use",
            Self::AddOperator { .. } => "operator.add",
            Self::ChangeGrant { .. } => "operator.grant",
            Self::ChangeProfile { .. } => "operator.profile",
            Self::ChangePassword { .. } => "operator.password",
            Self::DisableOperator { .. } => "operator.disable",
            Self::EnableOperator { .. } => "operator.enable",
            Self::EraseOperator { .. } => "operator.erase",
            Self::MakeToken { .. } => "token.make",
            Self::RevokeToken { .. } => "token.revoke",
            Self::NoteUse { .. } => "token.use",
            Self::Ask { .. } => "approval.ask",
            Self::Approve { .. } => "approval.approve",
            Self::Reject { .. } => "approval.reject",
            Self::Conclude { .. } => "approval.conclude",
        }
    }
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Event {
    /// The first operator can be made with a secret.
    SetupOffered {
        /// SHA-256 of it.
        secret: Digest,
        /// Until then.
        expires_at: Timestamp,
    },
    /// The first operator is there, and the secret is used up.
    SetupUsed {
        /// Its id.
        operator: OperatorId,
        /// Login, name and contact.
        profile: Commitment,
        /// Hash of the password.
        password: Commitment,
    },
    /// An operator is there.
    OperatorAdded {
        /// Its id.
        operator: OperatorId,
        /// Login, name and contact.
        profile: Commitment,
        /// Hash of a password that has to be changed.
        password: Option<Commitment>,
        /// What it may do.
        grant: Grant,
    },
    /// An operator may do something else.
    GrantChanged {
        /// Which.
        operator: OperatorId,
        /// All of it.
        grant: Grant,
    },
    /// Another login, name or contact.
    ProfileChanged {
        /// Whose.
        operator: OperatorId,
        /// The new ones.
        profile: Commitment,
    },
    /// Another password; sessions from before end.
    PasswordChanged {
        /// Whose.
        operator: OperatorId,
        /// The new one.
        password: Commitment,
        /// Somebody else has set it.
        temporary: bool,
    },
    /// An operator can do nothing any more.
    OperatorDisabled {
        /// Which.
        operator: OperatorId,
    },
    /// An operator can act again.
    OperatorEnabled {
        /// Which.
        operator: OperatorId,
    },
    /// The personal data of an operator is to be erased.
    OperatorErased {
        /// Which.
        operator: OperatorId,
    },
    /// A token is there.
    TokenMade {
        /// Its id.
        token: TokenId,
        /// Who is answerable for it.
        operator: OperatorId,
        /// SHA-256 of its secret.
        secret: Digest,
        /// What it is for.
        label: String,
        /// What it may do.
        grant: Grant,
        /// Until then.
        expires_at: Timestamp,
    },
    /// A token is worth nothing any more.
    TokenRevoked {
        /// Which.
        token: TokenId,
    },
    /// A token was used.
    TokenUsed {
        /// Which.
        token: TokenId,
    },
    /// A command waits for a second person.
    Asked {
        /// Its id.
        approval: ApprovalId,
        /// The command, as JSON.
        command: String,
        /// SHA-256 of that text.
        digest: Digest,
        /// Who asks.
        by: By,
        /// The operator who is answerable for that, and can never approve it.
        operator: OperatorId,
        /// Why it is needed.
        why: String,
        /// Role of whoever approves.
        needs: Role,
        /// Where whoever approves has to have it.
        sites: Sites,
        /// Until then.
        expires_at: Timestamp,
    },
    /// A second person has agreed: whoever asked may carry it out, once.
    Approved {
        /// To which.
        approval: ApprovalId,
        /// Who.
        by: OperatorId,
    },
    /// It will not be carried out.
    Rejected {
        /// Which.
        approval: ApprovalId,
        /// Who said so.
        by: OperatorId,
    },
    /// It was carried out.
    Concluded {
        /// Which.
        approval: ApprovalId,
    },
}

impl Event {
    /// Its type in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::SetupOffered { .. } => "setup.offered",
            Self::SetupUsed { .. } => "setup.used",
            Self::OperatorAdded { .. } => "operator.added",
            Self::GrantChanged { .. } => "operator.granted",
            Self::ProfileChanged { .. } => "operator.profile-changed",
            Self::PasswordChanged { .. } => "operator.password-changed",
            Self::OperatorDisabled { .. } => "operator.disabled",
            Self::OperatorEnabled { .. } => "operator.enabled",
            Self::OperatorErased { .. } => "operator.erased",
            Self::TokenMade { .. } => "token.made",
            Self::TokenRevoked { .. } => "token.revoked",
            Self::TokenUsed { .. } => "token.used",
            Self::Asked { .. } => "approval.asked",
            Self::Approved { .. } => "approval.approved",
            Self::Rejected { .. } => "approval.rejected",
            Self::Concluded { .. } => "approval.concluded",
        }
    }
}

/// An actor, as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct By {
    /// `person`, `token`.
    pub kind: String,
    /// Which one.
    pub id: String,
}

impl From<&journal::entry::Actor> for By {
    fn from(actor: &journal::entry::Actor) -> Self {
        Self { kind: actor.kind.to_string(), id: actor.id.clone() }
    }
}

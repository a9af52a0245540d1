//! Conditions as bytecode for a small stack machine.
//!
//! A condition holds when its code ends with `true`. Anything else, an error included, is "does not
//! hold": Cedar skips a policy whose condition errs. Running allocates nothing and is bounded by the
//! length of the code, which has no backward jump.

use std::ops::Range;

use super::columns::{Columns, Kind, Name, Val};
use crate::language::{Binary, Expr, Var};
use crate::lower::{index, small};
use crate::text::like;

/// What a packet or a moment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Protocol,
    Port,
    Hour,
    Weekday,
    Maintenance,
}

impl Said {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "protocol" => Self::Protocol,
            "port" => Self::Port,
            "hour" => Self::Hour,
            "weekday" => Self::Weekday,
            "maintenance" => Self::Maintenance,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Push(Val),
    Principal,
    Resource,
    Context(Said),
    HasContext(Said),
    Attribute(Name),
    Has(Name),
    Not,
    Eq,
    Lt,
    Le,
    In,
    Is(Kind),
    /// Number of a pattern.
    Like(u32),
    /// The top must be a truth value.
    Truth,
    /// The top must be an entity.
    Entity,
    /// Takes the top, if it is `true`; else jumps this far and leaves it.
    AndThen(u32),
    /// Takes the top, if it is `false`; else jumps this far and leaves it.
    OrElse(u32),
    /// Takes the top; jumps this far if it was `false`.
    Branch(u32),
    Jump(u32),
    /// Takes the top.
    Drop,
    /// Replaces two truth values by whether both are true.
    Both,
    /// Replaces two truth values by whether one is true.
    Either,
}

/// All conditions of a set of policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    ops: Vec<Op>,
    patterns: Vec<Vec<String>>,
}

/// What a condition is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'c> {
    pub(crate) columns: &'c Columns,
    /// Index of the device.
    pub(crate) device: u32,
    /// Index of the service.
    pub(crate) service: u32,
    /// Number of the transport's word.
    pub(crate) protocol: u32,
    pub(crate) port: u16,
    pub(crate) hour: Option<u8>,
    /// Number of the weekday's word, where it is known.
    pub(crate) weekday: Option<u32>,
    pub(crate) maintenance: Option<bool>,
}

/// Room on the stack.
const STACK: usize = 32;
/// Deepest nesting that is compiled.
const DEPTH: usize = 64;
/// Longest code of one condition: sets are written out, pair by pair.
const OPS_MAX: usize = 4_096;

/// Which variables an expression looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looks {
    pub(crate) principal: bool,
    pub(crate) resource: bool,
    pub(crate) context: bool,
}

impl Looks {
    pub(crate) fn at(expr: &Expr) -> Self {
        let mut looks = Self::default();
        expr.visit(&mut |e| match e {
            Expr::Var(Var::Principal) => looks.principal = true,
            Expr::Var(Var::Resource) => looks.resource = true,
            Expr::Var(Var::Context) => looks.context = true,
            _ => {}
        });
        looks
    }
}

impl Code {
    /// Appends an expression; where it stands, or why it cannot be compiled.
    pub(crate) fn add(&mut self, expr: &Expr, columns: &mut Columns) -> Result<Range<u32>, String> {
        let start = self.ops.len();
        let mut compiler = Compiler { code: self, columns, start, depth: 0, height: 0, highest: 0 };
        let compiled = compiler.expr(expr);
        let fits = compiler.highest <= STACK;
        match compiled.and_then(|()| fits.then_some(()).ok_or_else(|| "it nests too deep".into())) {
            Ok(()) => Ok(small(start)..small(self.ops.len())),
            Err(why) => {
                self.ops.truncate(start);
                Err(why)
            }
        }
    }

    /// Whether the condition is true; `None` where it errs.
    #[inline]
    pub(crate) fn run(&self, at: &Range<u32>, frame: &Frame<'_>) -> Option<bool> {
        match self.value(at, frame)? {
            Val::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The value of an expression; `None` where it errs.
    #[inline]
    pub(crate) fn value(&self, at: &Range<u32>, frame: &Frame<'_>) -> Option<Val> {
        let ops = self.ops.get(index(at.start)..index(at.end))?;
        let mut stack = Stack { values: [Val::Bool(false); STACK], top: 0 };
        let mut next = 0usize;
        while let Some(op) = ops.get(next) {
            next = next.wrapping_add(1);
            if let Some(jump) = self.step(*op, &mut stack, frame)? {
                next = next.wrapping_add(index(jump));
            }
        }
        stack.pop()
    }

    /// One step; how far to jump.
    #[inline(always)]
    fn step(&self, op: Op, stack: &mut Stack, frame: &Frame<'_>) -> Option<Option<u32>> {
        let columns = frame.columns;
        match op {
            Op::Push(value) => stack.push(value)?,
            Op::Principal => stack.push(Val::Entity(Kind::Device, frame.device))?,
            Op::Resource => stack.push(Val::Entity(Kind::Service, frame.service))?,
            Op::Context(said) => stack.push(frame.said(said)?)?,
            Op::HasContext(said) => stack.push(Val::Bool(frame.said(said).is_some()))?,
            Op::Attribute(name) => {
                let entity = stack.entity()?;
                stack.push(columns.attribute(entity, name)?)?;
            }
            Op::Has(name) => {
                let entity = stack.entity()?;
                stack.push(Val::Bool(columns.attribute(entity, name).is_some()))?;
            }
            Op::Not => {
                let value = stack.truth()?;
                stack.push(Val::Bool(!value))?;
            }
            Op::Eq => {
                let (b, a) = (stack.pop()?, stack.pop()?);
                stack.push(Val::Bool(a == b))?;
            }
            Op::Lt => {
                let (b, a) = (stack.long()?, stack.long()?);
                stack.push(Val::Bool(a < b))?;
            }
            Op::Le => {
                let (b, a) = (stack.long()?, stack.long()?);
                stack.push(Val::Bool(a <= b))?;
            }
            Op::In => {
                let (b, a) = (stack.entity()?, stack.entity()?);
                stack.push(Val::Bool(columns.is_in(a, b)))?;
            }
            Op::Is(kind) => {
                let (is, _) = stack.entity()?;
                stack.push(Val::Bool(is == kind))?;
            }
            Op::Like(pattern) => {
                let Val::Text(text) = stack.pop()? else {
                    return None;
                };
                let pattern = self.patterns.get(index(pattern))?;
                stack.push(Val::Bool(like(columns.texts.text(text), pattern)))?;
            }
            Op::Truth => {
                let value = stack.truth()?;
                stack.push(Val::Bool(value))?;
            }
            Op::Entity => {
                let (kind, number) = stack.entity()?;
                stack.push(Val::Entity(kind, number))?;
            }
            Op::AndThen(jump) => {
                if !stack.truth()? {
                    stack.push(Val::Bool(false))?;
                    return Some(Some(jump));
                }
            }
            Op::OrElse(jump) => {
                if stack.truth()? {
                    stack.push(Val::Bool(true))?;
                    return Some(Some(jump));
                }
            }
            Op::Branch(jump) => {
                if !stack.truth()? {
                    return Some(Some(jump));
                }
            }
            Op::Jump(jump) => return Some(Some(jump)),
            Op::Drop => drop(stack.pop()?),
            Op::Both => {
                let (b, a) = (stack.truth()?, stack.truth()?);
                stack.push(Val::Bool(a && b))?;
            }
            Op::Either => {
                let (b, a) = (stack.truth()?, stack.truth()?);
                stack.push(Val::Bool(a || b))?;
            }
        }
        Some(None)
    }
}

impl Frame<'_> {
    fn said(&self, said: Said) -> Option<Val> {
        match said {
            Said::Protocol => Some(Val::Text(self.protocol)),
            Said::Port => Some(Val::Long(i64::from(self.port))),
            Said::Hour => self.hour.map(|hour| Val::Long(i64::from(hour))),
            Said::Weekday => self.weekday.map(Val::Text),
            Said::Maintenance => self.maintenance.map(Val::Bool),
        }
    }
}

struct Stack {
    values: [Val; STACK],
    top: usize,
}

impl Stack {
    #[inline(always)]
    fn push(&mut self, value: Val) -> Option<()> {
        *self.values.get_mut(self.top)? = value;
        self.top = self.top.wrapping_add(1);
        Some(())
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<Val> {
        self.top = self.top.checked_sub(1)?;
        self.values.get(self.top).copied()
    }

    #[inline(always)]
    fn truth(&mut self) -> Option<bool> {
        match self.pop()? {
            Val::Bool(value) => Some(value),
            _ => None,
        }
    }

    #[inline(always)]
    fn long(&mut self) -> Option<i64> {
        match self.pop()? {
            Val::Long(value) => Some(value),
            _ => None,
        }
    }

    #[inline(always)]
    fn entity(&mut self) -> Option<(Kind, u32)> {
        match self.pop()? {
            Val::Entity(kind, number) => Some((kind, number)),
            _ => None,
        }
    }
}

struct Compiler<'a> {
    code: &'a mut Code,
    columns: &'a mut Columns,
    start: usize,
    depth: usize,
    /// Values on the stack after the last operation, and at most so far.
    height: usize,
    highest: usize,
}

impl Compiler<'_> {
    fn op(&mut self, op: Op) {
        match op {
            Op::Push(_) | Op::Principal | Op::Resource | Op::Context(_) | Op::HasContext(_) => {
                self.height = self.height.saturating_add(1);
            }
            Op::Eq | Op::Lt | Op::Le | Op::In | Op::Both | Op::Either | Op::Drop => self.taken(),
            _ => {}
        }
        self.highest = self.highest.max(self.height);
        self.code.ops.push(op);
    }

    /// The operation takes one value more than it leaves.
    fn taken(&mut self) {
        self.height = self.height.saturating_sub(1);
    }

    /// A jump that is filled in later.
    fn hole(&mut self) -> usize {
        self.op(Op::Jump(0));
        self.code.ops.len()
    }

    fn fill(&mut self, hole: usize, op: impl FnOnce(u32) -> Op) {
        let jump = small(self.code.ops.len().saturating_sub(hole));
        if let Some(slot) = self.code.ops.get_mut(hole.saturating_sub(1)) {
            *slot = op(jump);
        }
    }

    fn expr(&mut self, expr: &Expr) -> Result<(), String> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH {
            return Err(format!("it nests deeper than {DEPTH}"));
        }
        if self.code.ops.len().saturating_sub(self.start) > OPS_MAX {
            return Err("its sets are too large to be written out".to_owned());
        }
        match expr {
            Expr::Bool(value) => self.op(Op::Push(Val::Bool(*value))),
            Expr::Long(value) => self.op(Op::Push(Val::Long(*value))),
            Expr::Text(text) => {
                let number = self.columns.texts.number(text);
                self.op(Op::Push(Val::Text(number)));
            }
            Expr::Entity(e) => {
                let (kind, number) = self.columns.entity(&e.kind, &e.id);
                self.op(Op::Push(Val::Entity(kind, number)));
            }
            Expr::Set(_) => return Err("a set as a value".to_owned()),
            Expr::Var(Var::Principal) => self.op(Op::Principal),
            Expr::Var(Var::Resource) => self.op(Op::Resource),
            Expr::Var(Var::Context) => return Err("the context as a value".to_owned()),
            Expr::Get(e, name) | Expr::Has(e, name) if **e == Expr::Var(Var::Context) => {
                let has = matches!(expr, Expr::Has(..));
                match Said::of(name) {
                    Some(said) if has => self.op(Op::HasContext(said)),
                    Some(said) => self.op(Op::Context(said)),
                    None if has => self.op(Op::Push(Val::Bool(false))),
                    None => return Err(format!("`context.{name}`")),
                }
            }
            Expr::Get(e, name) => {
                self.expr(e)?;
                self.op(Op::Attribute(Name::of(name)));
            }
            Expr::Has(e, name) => {
                self.expr(e)?;
                self.op(Op::Has(Name::of(name)));
            }
            Expr::Not(e) => {
                self.expr(e)?;
                self.op(Op::Not);
            }
            Expr::If(a, b, c) => {
                self.expr(a)?;
                let otherwise = self.hole();
                self.taken();
                let height = self.height;
                self.expr(b)?;
                let end = self.hole();
                self.fill(otherwise, Op::Branch);
                self.height = height;
                self.expr(c)?;
                self.fill(end, Op::Jump);
            }
            Expr::Is(e, kind) => {
                if Kind::of(kind) == Kind::Other {
                    return Err(format!("the type `{kind}`"));
                }
                self.expr(e)?;
                self.op(Op::Is(Kind::of(kind)));
            }
            Expr::Like(e, pattern) => {
                self.expr(e)?;
                let number = small(self.code.patterns.len());
                self.code.patterns.push(pattern.clone());
                self.op(Op::Like(number));
            }
            Expr::Binary(op, a, b) => self.binary(*op, a, b)?,
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    fn binary(&mut self, op: Binary, a: &Expr, b: &Expr) -> Result<(), String> {
        match (op, a, b) {
            (Binary::And | Binary::Or, ..) => {
                self.expr(a)?;
                let end = self.hole();
                self.taken();
                self.expr(b)?;
                self.op(Op::Truth);
                self.fill(end, if op == Binary::And { Op::AndThen } else { Op::OrElse });
            }
            (Binary::In, _, Expr::Set(of)) => {
                self.expr(a)?;
                self.op(Op::Entity);
                self.op(Op::Drop);
                self.pairs(&[a], of, Op::In)?;
            }
            (Binary::Contains, Expr::Set(set), item) => {
                self.whole(set)?;
                self.whole(std::slice::from_ref(item))?;
                self.pairs(&[item], set, Op::Eq)?;
            }
            (Binary::ContainsAll, Expr::Set(set), Expr::Set(of)) => {
                self.whole(set)?;
                self.whole(of)?;
                self.inside(of, set)?;
            }
            (Binary::ContainsAny, Expr::Set(set), Expr::Set(of)) => {
                self.whole(set)?;
                self.whole(of)?;
                let of: Vec<&Expr> = of.iter().collect();
                self.pairs(&of, set, Op::Eq)?;
            }
            (Binary::Eq | Binary::Ne, Expr::Set(set), Expr::Set(of)) => {
                self.whole(set)?;
                self.whole(of)?;
                self.inside(of, set)?;
                self.inside(set, of)?;
                self.op(Op::Both);
                if op == Binary::Ne {
                    self.op(Op::Not);
                }
            }
            (Binary::Contains | Binary::ContainsAll | Binary::ContainsAny, ..) => {
                return Err("a set that is no literal".to_owned());
            }
            (Binary::Gt | Binary::Ge, ..) => {
                // Both sides are evaluated whatever their order, so turning them round is safe.
                self.expr(b)?;
                self.expr(a)?;
                self.op(if op == Binary::Gt { Op::Lt } else { Op::Le });
            }
            _ => {
                self.expr(a)?;
                self.expr(b)?;
                self.op(match op {
                    Binary::Lt => Op::Lt,
                    Binary::Le => Op::Le,
                    Binary::In => Op::In,
                    _ => Op::Eq,
                });
                if op == Binary::Ne {
                    self.op(Op::Not);
                }
            }
        }
        Ok(())
    }

    /// Evaluates each once: an error in any is an error of the set.
    fn whole(&mut self, items: &[Expr]) -> Result<(), String> {
        for item in items {
            self.expr(item)?;
            self.op(Op::Drop);
        }
        Ok(())
    }

    /// Every one of `items` equals one of `set`.
    fn inside(&mut self, items: &[Expr], set: &[Expr]) -> Result<(), String> {
        self.op(Op::Push(Val::Bool(true)));
        for item in items {
            self.pairs(&[item], set, Op::Eq)?;
            self.op(Op::Both);
        }
        Ok(())
    }

    /// One of `items` and one of `set` are so related. All pairs are tried: an error in any counts.
    fn pairs(&mut self, items: &[&Expr], set: &[Expr], op: Op) -> Result<(), String> {
        self.op(Op::Push(Val::Bool(false)));
        for item in items {
            for other in set {
                self.expr(item)?;
                self.expr(other)?;
                self.op(op);
                self.op(Op::Either);
            }
        }
        Ok(())
    }
}

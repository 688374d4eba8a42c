//! `cargo xtask test-matrix`: runs every cell it can, and says of every other one why it cannot.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::cells::{self, Cell, How, PYTHON_PACKAGE};
use crate::command::Environment;
use crate::failure::{Failure, Result};
use crate::features;
use crate::outcome::{CellReport, Counts, Status, Totals, exit_code};
use crate::printed;
use crate::python::PythonEnvironment;
use crate::python_interpreters;
use crate::python_tests::{self, STUBS};
use crate::python_wheel::{self, Profile};
use crate::requirement::{Lack, Provider};
use crate::run_tests::{Runner, TestRun, alone, doc_tests};
use crate::tally::Tally;
use crate::workspace::Workspace;

/// Options of `test-matrix`.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Test these packages only
    #[arg(long = "package", short, value_name = "PACKAGE")]
    packages: Vec<String>,
    /// Install what is missing; a cell that is unavailable after that, though it could be
    /// installed, is a failure
    #[arg(long)]
    install: bool,
    /// Print the table as Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print the result as JSON, and nothing else, to standard output
    #[arg(long)]
    json: bool,
}

impl Options {
    /// What CI asks for.
    pub(crate) fn for_ci() -> Self {
        Self { install: true, ..Self::default() }
    }
}

/// Runs the matrix and prints it. What the tools say goes to standard error as they say it.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    for name in &options.packages {
        known(workspace, name)?;
    }
    let reports = Matrix::new(workspace, options).run()?;
    eprintln!();
    if options.json {
        println!("{}", json(&reports, Totals::of(&reports)));
        return Ok(exit_code(&reports, options.install));
    }
    match options.markdown {
        true => printed::markdown(&reports),
        false => printed::text(&reports),
    }
    Ok(exit_code(&reports, options.install))
}

/// Refuses a name that no member of the workspace has.
fn known(workspace: &Workspace, name: &str) -> Result<()> {
    if workspace.package(name).is_some() {
        return Ok(());
    }
    Err(Failure::new(
        format!("test the package {name}"),
        "the workspace has none of that name",
        format!("choose from: {}", workspace.names().join(", ")),
    ))
}

struct Matrix<'a> {
    workspace: &'a Workspace,
    packages: &'a [String],
    runner: Runner,
    cells: Vec<(Cell, std::result::Result<Environment, Lack>)>,
    /// The backend crates without a cell here that others are built with.
    built_in: Vec<(&'static str, std::result::Result<Environment, Lack>)>,
}

impl<'a> Matrix<'a> {
    fn new(workspace: &'a Workspace, options: &'a Options) -> Self {
        let mut provider = Provider::new(workspace, options.install);
        let cells = cells::of(workspace, &options.packages).into_iter().map(|cell| {
            let environment = provider.provide(cell.requirements);
            (cell, environment)
        });
        let cells = cells.collect();
        let built_in = cells::built_in(&options.packages)
            .map(|(package, requirements)| (package, provider.provide(requirements)));
        Self {
            workspace,
            packages: &options.packages,
            cells,
            built_in: built_in.collect(),
            runner: Runner::detect(workspace),
        }
    }

    fn run(&self) -> Result<Vec<CellReport>> {
        let mut together = self.run_together()?;
        // When nothing ran at all each cell says so itself.
        let unexplained = !together.ended_well && together.tally.total() != Counts::default();
        let mut python = None;
        let mut reports = Vec::new();
        for (cell, environment) in &self.cells {
            reports.push(match (environment, &cell.how) {
                (Err(lack), _) => unavailable(cell, lack),
                (Ok(_), How::Python { row })
                    if self.workspace.package(PYTHON_PACKAGE).is_some() =>
                {
                    if python.is_none() {
                        python = Some(self.run_python()?);
                    }
                    let run = python.as_mut().expect("it has just run");
                    let counts = run.tally.take(row);
                    // stubtest is a run of its own.
                    let ended_well = run.ended_well || (*row == STUBS && counts.passed > 0);
                    CellReport::of_tests(cell.name, &cell.features, counts, ended_well)
                }
                (Ok(env), _) => self.run_cell(cell, env, &mut together)?,
            });
        }
        reports.extend(without_a_cell(together.tally, unexplained));
        if let Some(run) = python {
            reports.extend(without_a_cell(run.tally, false));
        }
        Ok(reports)
    }

    /// The one run of the Python package's tests, counted by row, after it is built and installed.
    fn run_python(&self) -> Result<TestRun> {
        let mut env = Environment::new();
        let mut absent = Vec::new();
        let mut stubs = false;
        for (cell, environment) in &self.cells {
            match (&cell.how, environment) {
                (How::Python { row }, Ok(variables)) => {
                    env.extend(variables.iter().cloned());
                    stubs |= *row == STUBS;
                }
                (How::Python { row }, Err(_)) => absent.push(*row),
                _ => {}
            }
        }
        if let Err(failure) = python_wheel::into_venv(self.workspace, Profile::Dev) {
            eprintln!("\n{failure}");
            return Ok(TestRun::default());
        }
        let python = PythonEnvironment::of_workspace(self.workspace);
        // What the stubs say is compared by one thread, which leaves a core idle beside tests.
        let (run, stubs) = std::thread::scope(|scope| {
            let stubs = stubs.then(|| scope.spawn(|| python_tests::stubs(self.workspace, &python)));
            let run = python_tests::run(self.workspace, &python, &absent, &env);
            let stubs = stubs.map(|thread| thread.join().expect("the thread does not panic"));
            (run, stubs)
        });
        let mut run = run?;
        if let Some(stubs) = stubs {
            *run.tally.of_mut(STUBS) = stubs?;
        }
        Ok(run)
    }

    /// What the cells that run together need, and the packages of those that lack something or are
    /// tested by Python.
    fn surroundings(&self) -> (Environment, Vec<&'static str>) {
        let mut env = Environment::new();
        // It has nothing that cargo could run. With all others it stays, so that their dependencies are
        // built with the features that it needs too: 30 of them need not be built again for it.
        let mut left_out = Vec::new();
        if !self.packages.is_empty() {
            left_out.push(PYTHON_PACKAGE);
        }
        for (cell, environment) in &self.cells {
            match (&cell.how, environment) {
                (How::Together { .. }, Ok(variables)) => env.extend(variables.iter().cloned()),
                (How::Together { package }, Err(_)) => left_out.push(*package),
                _ => {}
            }
        }
        for (package, environment) in &self.built_in {
            match environment {
                Ok(variables) => env.extend(variables.iter().cloned()),
                Err(_) => left_out.push(*package),
            }
        }
        (env, left_out)
    }

    /// The one run that most cells share, and the documentation's examples after it.
    fn run_together(&self) -> Result<TestRun> {
        let (env, left_out) = self.surroundings();
        let select = cells::select_together(self.workspace, self.packages, &left_out);
        if select.is_empty() {
            return Ok(TestRun { ended_well: true, ..TestRun::default() }); // all is left out
        }
        let mut run = self.runner.run(self.workspace, &select, &env)?;
        if !run.broke_down() {
            let examples = doc_tests(self.workspace, &select, &env)?;
            run.ended_well = !run.broke_down() && !examples.broke_down();
            run.tally.merge(examples.tally);
        }
        Ok(run)
    }

    fn run_cell(
        &self,
        cell: &Cell,
        env: &Environment,
        together: &mut TestRun,
    ) -> Result<CellReport> {
        let report = |counts, ended_well| {
            CellReport::of_tests(cell.name, &cell.features, counts, ended_well)
        };
        Ok(match &cell.how {
            How::Together { package } | How::Alone { package, .. } | How::Linted { package }
                if self.workspace.package(package).is_none() =>
            {
                absent(cell, format!("the workspace has no package `{package}`"))
            }
            How::Together { package } => {
                let counts = together.tally.take(package);
                let broke_down = !together.ended_well && counts == Counts::default();
                report(counts, !broke_down)
            }
            How::Alone { package, features, targets } => {
                // What the common run found on this machine, its tests may use too.
                let (around, _) = self.surroundings();
                let env = [around, env.clone()].concat();
                let select = alone(package, features, *targets);
                let run = self.runner.run(self.workspace, &select, &env)?;
                report(run.tally.total(), run.ended_well)
            }
            How::Elsewhere { manifest } => {
                if !self.workspace.root.join(manifest).is_file() {
                    return Ok(absent(cell, format!("there is no {manifest}")));
                }
                let mut env = env.clone();
                let target = self.workspace.target.display().to_string();
                env.push(("CARGO_TARGET_DIR".to_owned(), target));
                let select = vec!["--manifest-path".to_owned(), (*manifest).to_owned()];
                let run = self.runner.run(self.workspace, &select, &env)?;
                report(run.tally.total(), run.ended_well)
            }
            How::UnderPython { version } if self.workspace.package(PYTHON_PACKAGE).is_some() => {
                let run = python_interpreters::test(self.workspace, version, Profile::Dev);
                report(run.tally.total(), run.ended_well)
            }
            How::Python { .. } | How::UnderPython { .. } => {
                absent(cell, format!("the workspace has no package `{PYTHON_PACKAGE}`"))
            }
            How::Linted { package } => {
                let (counts, broken) = features::lint_each(self.workspace, package, env)?;
                let mut report = report(counts, true);
                if let Status::Failed { reason } = &mut report.status {
                    *reason = format!("does not compile or has lints with: {}", broken.join(", "));
                }
                report
            }
        })
    }
}

/// Tests that ran and belong to no cell, and an end of the common run that no row explains: they
/// get rows of their own, so that nothing is passed over.
fn without_a_cell(tally: Tally, unexplained: bool) -> Vec<CellReport> {
    let mut rows = Vec::new();
    for (package, counts) in tally.into_packages() {
        if counts.passed + counts.failed > 0 {
            rows.push(CellReport::of_tests(&package, "-", counts, true));
        }
    }
    if unexplained {
        let reason = "the common run ended with an error, shown above".to_owned();
        rows.push(CellReport::without_tests("workspace", "-", Status::Failed { reason }));
    }
    rows
}

fn absent(cell: &Cell, reason: String) -> CellReport {
    CellReport::without_tests(cell.name, &cell.features, Status::Failed { reason })
}

fn unavailable(cell: &Cell, lack: &Lack) -> CellReport {
    let Lack { reason, remedy, installable } = lack.clone();
    let status = Status::Unavailable { reason, remedy, installable };
    CellReport::without_tests(cell.name, &cell.features, status)
}

fn json(reports: &[CellReport], totals: Totals) -> String {
    #[derive(Serialize)]
    struct Matrix<'a> {
        cells: &'a [CellReport],
        #[serde(flatten)]
        totals: Totals,
    }
    let matrix = Matrix { cells: reports, totals };
    serde_json::to_string(&matrix).expect("strings, numbers and booleans are always JSON")
}

#[cfg(test)]
mod tests {
    use super::{json, known, without_a_cell};
    use crate::outcome::{CellReport, Counts, Status, Totals};
    use crate::tally::Tally;

    fn unavailable() -> CellReport {
        let status = Status::Unavailable {
            reason: "no libtorch".into(),
            remedy: "install torch".into(),
            installable: true,
        };
        CellReport::without_tests("torch", "-", status)
    }

    #[test]
    fn a_package_of_an_unknown_name_is_refused_with_the_known_ones() {
        let workspace = crate::workspace::tests::example();
        assert!(known(&workspace, "bridge-core").is_ok());
        let text = known(&workspace, "bridge-cora").unwrap_err().to_string();
        assert!(text.contains("bridge-cora") && text.contains("bridge-core"), "{text}");
    }

    #[test]
    fn tests_of_an_unlisted_package_get_a_row() {
        let mut tally = Tally::default();
        tally.of_mut("bridge-new").passed = 2;
        tally.of_mut("bridge-idle").ignored = 1;
        let rows = without_a_cell(tally, false);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].cell.as_str(), &rows[0].status), ("bridge-new", &Status::Passed));
    }

    #[test]
    fn an_unexplained_end_is_a_failed_row() {
        let rows = without_a_cell(Tally::default(), true);
        assert!(matches!(rows[0].status, Status::Failed { .. }));
    }

    #[test]
    fn json_holds_cells_and_totals() {
        let counts = Counts { passed: 4, ..Counts::default() };
        let reports = [CellReport::of_tests("core", "-", counts, true), unavailable()];
        let value: serde_json::Value =
            serde_json::from_str(&json(&reports, Totals::of(&reports))).unwrap();
        assert_eq!(value["cells"][0]["status"], "passed");
        assert_eq!(value["cells"][1]["reason"], "no libtorch");
        assert_eq!((&value["passed"], &value["skipped"]), (&4.into(), &1.into()));
    }
}

//! Temporary.
use harness::vm::*;
use std::time::Duration;
struct Print;
impl Observer for Print {
    fn notice(&mut self, text: &str) {
        eprintln!("** {text}");
    }
    fn output(&mut self, line: &str) {
        println!("{line}");
    }
}
fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let evidence = args.remove(0).into();
    let work = if args.is_empty() { Work::Shell } else { Work::Command(args) };
    let mut request = GuestRequest::new(work, evidence);
    let var = |n: &str| std::env::var(n).ok();
    if let Some(k) = var("K") {
        request.kernel = k.parse().unwrap();
    }
    if let Some(k) = var("A") {
        request.accelerator = k.parse().unwrap();
    }
    if let Some(k) = var("SIL") {
        request.limits.silence = Duration::from_secs(k.parse().unwrap());
    }
    if let Some(k) = var("TOT") {
        request.limits.total = Duration::from_secs(k.parse().unwrap());
    }
    if let Some(k) = var("BOOT") {
        request.limits.boot = Duration::from_secs(k.parse().unwrap());
    }
    request.instruction_clock = var("CLOCK").is_some();
    match run(&request, &mut Print) {
        Ok(mut o) => {
            o.launch.command_line.clear();
            let n = o.console_tail.len();
            o.console_tail.drain(..n.saturating_sub(3));
            eprintln!("{o:#?}\n{}", o.end);
            std::process::exit(o.end.exit_code().into())
        }
        Err(e) => {
            eprintln!("error: {e}");
            std::process::exit(e.exit().code.into())
        }
    }
}

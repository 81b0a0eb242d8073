//! No prompt, answer or key is ever logged, at any level.

use std::fs;

use tempfile::TempDir;

use super::FREE;
use crate::harness::client;
use crate::harness::process::Process;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::Step;
use crate::harness::provider::delta;
use crate::harness::provider::ending;
use crate::harness::sidecar::asking;
use crate::harness::until;
use crate::harness::within;

/// Words that would be found again anywhere.
const PROMPT: &str = "canaryprompt";
const ANSWER: &str = "canaryanswer";
const KEY: &str = "canarykey";
const OWN_KEY: &str = "canaryown";

const TRIAL: &str = "
experiment: trial
match: { headers: { x-trial: 'yes' } }
control: { target: alpha/m }
candidates: { next: { target: beta/n } }
traffic: { shadow: 100% }
evaluate: { judge: { target: beta/judge, criteria: Right. } }
";

async fn ask(process: &mut Process, body: Vec<u8>, path: &str, more: &[(&str, &str)]) {
    let data = process.address("listen");
    let client = client().build().unwrap();
    let mut request = client.post(format!("http://{data}{path}")).bearer_auth(KEY).body(body);
    for (name, value) in [("x-api-key", KEY), ("cookie", KEY)].iter().chain(more) {
        request = request.header(*name, *value);
    }
    let response = within("a reply", request.send()).await.unwrap();
    let _whole_or_broken = within("its body", response.bytes()).await;
}

/// Good requests, bad ones, broken answers, failover, shadow and judge, at the loudest level.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_line_holds_a_prompt_an_answer_or_a_key() {
    for (level, format) in [("trace", "json"), ("debug", "text")] {
        let (alpha, beta) = (Provider::start().await, Provider::start().await);
        let dir = TempDir::new().unwrap();
        let config = serde_json::json!({
            "providers": {
                "alpha": {"base_url": alpha.base_url()},
                "beta": {"base_url": beta.base_url(), "api_keys": [{"env": "BETA"}]},
            },
            "routes": {"both": {"targets": ["alpha/m", "beta/m"]}},
            "timeouts": {"idle": "200ms"},
            "retry": {"attempts": 0},
        });
        fs::write(dir.path().join("understudy.yaml"), config.to_string()).unwrap();
        fs::write(dir.path().join("trial.yaml"), TRIAL).unwrap();
        let more = ["--log", level, "--log-format", format, "--experiments", "trial.yaml"];
        let args = [&["serve"], &FREE[..], &more].concat();
        let env = [("BETA", OWN_KEY), ("NO_COLOR", "1")];
        let mut process = Process::start(dir.path(), &args, &env);
        let chat = "/v1/chat/completions";
        let whole = asking("alpha/m", PROMPT, false).into_bytes();
        // Another prompt, because a whole answer would serve the stream of the same one.
        let streamed = asking("alpha/m", &format!("{PROMPT} streamed"), true).into_bytes();
        let bad = [
            PROMPT.to_owned(),
            format!("{{\"model\":\"alpha/m\",\"messages\":[\"{PROMPT}\""),
            format!("{{\"messages\":\"{PROMPT}\"}}"),
            format!("{{\"model\":\"alpha/m\",\"messages\":[],\"stream\":\"{PROMPT}\"}}"),
            format!("[\"{PROMPT}\"]"),
        ];
        for body in bad {
            ask(&mut process, body.into_bytes(), chat, &[]).await;
        }
        alpha.expect(Answer::saying(ANSWER));
        ask(&mut process, whole.clone(), chat, &[]).await;
        ask(&mut process, whole.clone(), chat, &[]).await;
        alpha.expect(Answer::stream([vec![delta(ANSWER)], ending()].concat()));
        ask(&mut process, streamed.clone(), chat, &[]).await;
        for end in [Step::Cut, Step::Hang, Step::Send(ANSWER.into())] {
            alpha.expect(Answer::stream(vec![delta(ANSWER), end]));
            let never = [("cache-control", "no-store")];
            ask(&mut process, streamed.clone(), chat, &never).await;
        }
        alpha.expect(Answer::error(500));
        beta.expect(Answer::error(401));
        ask(
            &mut process,
            asking("both", &format!("{PROMPT} again"), false).into_bytes(),
            chat,
            &[],
        )
        .await;
        alpha.expect(Answer::json(format!("{{\"error\":{{\"message\":\"{KEY} is bad\"}}}}")));
        ask(&mut process, PROMPT.into(), &format!("/alpha/v1/files?key={KEY}"), &[]).await;
        alpha.expect(Answer::saying(ANSWER));
        beta.expect(Answer::saying(&format!("other {ANSWER}")));
        beta.always(Answer::error(400));
        ask(&mut process, whole.clone(), chat, &[("x-trial", "yes")]).await;
        until("the judge", || beta.count() >= 4).await;
        process.terminate();
        let ended = process.end();
        assert_eq!(ended.code, Some(0));
        println!("{level}: {} lines", ended.output.lines().count());
        assert!(ended.output.contains("refused") && ended.output.contains("failover"));
        for word in [PROMPT, ANSWER, KEY, OWN_KEY] {
            let found: Vec<&str> = ended.output.lines().filter(|l| l.contains(word)).collect();
            assert!(found.is_empty(), "{word} at level {level}: {found:#?}");
        }
    }
}

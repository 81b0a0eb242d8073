//! scratch
use understudy::config;
#[test]
fn probe() {
    let dir = std::env::var("PROBE").unwrap();
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for path in files {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let began = std::time::Instant::now();
        let exp = config::is_experiment(&text);
        let r = if exp {
            config::load(None, &[(name.clone(), text)], &|_| None, &|_| {
                Err(std::io::ErrorKind::NotFound.into())
            })
        } else {
            config::load(Some((&name, &text)), &[], &|_| None, &|_| {
                Err(std::io::ErrorKind::NotFound.into())
            })
        };
        println!("=== {name} exp={exp} {:?}", began.elapsed());
        match r {
            Ok((c, w)) => {
                println!("OK {:?}", c.experiments.len());
                for p in w.iter().take(20) {
                    print!("{}", p.render());
                }
            }
            Err(ps) => {
                println!("{} problems", ps.len());
                for p in ps.iter().take(30) {
                    print!("{}", p.render());
                }
            }
        }
    }
}

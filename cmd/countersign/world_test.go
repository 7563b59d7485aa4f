package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign-ota/countersign/integration/loopback"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/event"
)

// startServer opens and serves the directory until stop is called. It returns once both ports answer.
func startServer(dir string) (stop func(), err error) {
	cfg, err := repository.LoadConfig(filepath.Join(dir, repository.ConfigFile))
	if err != nil {
		return nil, err
	}
	s, err := repository.Open(context.Background(), *cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-done
			_ = s.Close()
		})
	}
	for _, addr := range []string{cfg.GRPC, cfg.HTTPS} {
		for {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
				break
			}
			select {
			case err := <-done:
				return nil, fmt.Errorf("the server ended: %w", err)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return stop, nil
}

// ports returns two free ports.
func ports() (grpc, https string, err error) {
	for grpc == https {
		for _, port := range []*string{&grpc, &https} {
			address, err := loopback.Address()
			if err != nil {
				return "", "", err
			}
			if _, *port, err = net.SplitHostPort(address); err != nil {
				return "", "", err
			}
		}
	}
	return grpc, https, nil
}

func initServer(dir, deployment string) (*repository.Made, error) {
	grpc, https, err := ports()
	if err != nil {
		return nil, err
	}
	return repository.Init(context.Background(), repository.InitOptions{
		Deployment: deployment, URL: "https://localhost:" + https, Dir: dir, Operator: "rivera", Passphrase: []byte(passphrase),
		GRPC: "localhost:" + grpc, HTTPS: "localhost:" + https,
	})
}

// cmdServer makes and starts an empty server.
func cmdServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: server DEPLOYMENT")
	}
	work := ts.Getenv("WORK")
	dir := filepath.Join(work, args[0]+".server")
	made, err := initServer(dir, args[0])
	ts.Check(err)
	for from, to := range map[string]string{made.Online: "online.pub", made.Token: args[0] + ".token"} {
		data, err := os.ReadFile(from)
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(work, to), data, 0o600))
	}
	servers.start(ts, args[0], dir)
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: start DEPLOYMENT")
	}
	servers.start(ts, args[0], filepath.Join(ts.Getenv("WORK"), args[0]+".server"))
}

func cmdStop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stop DEPLOYMENT")
	}
	servers.stop(ts.Getenv("WORK"), args[0])
}

// servers are all that run, by working directory and deployment: scripts run side by side.
var servers = running{stops: map[string]func(){}}

type running struct {
	mu    sync.Mutex
	stops map[string]func()
}

func (r *running) start(ts *testscript.TestScript, deployment, dir string) {
	stop, err := startServer(dir)
	ts.Check(err)
	ts.Defer(stop)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stops[ts.Getenv("WORK")+"\x00"+deployment] = stop
}

func (r *running) stop(work, deployment string) {
	r.mu.Lock()
	stop := r.stops[work+"\x00"+deployment]
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// founded is a deployment that was founded once, with its server stopped: scripts get copies.
type founded struct {
	once sync.Once
	dir  string
	err  error
}

var worlds = struct {
	mu sync.Mutex
	by map[string]*founded
}{by: map[string]*founded{}}

func removeWorlds() {
	worlds.mu.Lock()
	defer worlds.mu.Unlock()
	for _, w := range worlds.by {
		if w.dir != "" {
			_ = os.RemoveAll(w.dir)
		}
	}
	clear(worlds.by)
}

// plan is that of the founded deployments.
const plan = `deployment: %s
online: online.pub
people: {rivera: rivera.pub, chen: chen.pub, okafor: okafor.pub}
meaning: {holder: approved, engineering: authored, quality: approved, stop: stopped}
roots: {require: {holder: 2}, people: {holder: [rivera, chen, okafor]}}
products:
  gw-100: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}, stop: [rivera, chen, okafor], bins: 0, sbom: required}
`

var everybody = []string{"rivera", "chen", "okafor"}

// lifetime is how long what people sign is good, in days.
const lifetime = 365

// cmdWorld copies a founded deployment to the script's directory and starts its server on new ports.
func cmdWorld(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: world DEPLOYMENT [DAYS]")
	}
	days := lifetime
	if len(args) == 2 {
		var err error
		days, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	name := strings.Join(args, " ")
	worlds.mu.Lock()
	w := worlds.by[name]
	if w == nil {
		w = &founded{}
		worlds.by[name] = w
	}
	worlds.mu.Unlock()
	w.once.Do(func() {
		if w.dir, w.err = os.MkdirTemp("", "countersign-world-"); w.err == nil {
			w.err = found(w.dir, args[0], days)
		}
	})
	ts.Check(w.err)
	work := ts.Getenv("WORK")
	ts.Check(copyTree(w.dir, work))
	dir := filepath.Join(work, args[0]+".server")
	ts.Check(newPorts(w.dir, work, dir))
	servers.start(ts, args[0], dir)
}

// cmdAlso founds a second deployment of the same people with the same keys.
func cmdAlso(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: also DEPLOYMENT")
	}
	work := ts.Getenv("WORK")
	ts.Check(found(work, args[0], lifetime))
	servers.start(ts, args[0], filepath.Join(work, args[0]+".server"))
}

// found makes keys where there are none, founds the deployment and logs everybody in, with the program
// that people use. What they sign is good for so many days.
func found(dir, deployment string, days int) error {
	if err := passphraseFile(dir); err != nil {
		return err
	}
	server := filepath.Join(dir, deployment+".server")
	made, err := initServer(server, deployment)
	if err != nil {
		return err
	}
	stop, err := startServer(server)
	if err != nil {
		return err
	}
	defer stop()
	pass := filepath.Join(dir, "pass")
	for _, p := range everybody {
		if _, err := os.Stat(filepath.Join(dir, p, p+".pub")); err == nil {
			continue
		}
		if _, err := runTool(dir, p, "key", "new", "--person", p, "--director", "--passphrase-file", pass); err != nil {
			return err
		}
	}
	if err := gather(dir, deployment, made.Online); err != nil {
		return err
	}
	event := filepath.Join(dir, "rivera", deployment+".event")
	id, err := initEvent(dir, event, days)
	if err != nil {
		return err
	}
	for _, p := range everybody {
		if _, err := runTool(dir, p, "sign", event, "--expect", id, "--passphrase-file", pass, "--reason", "founding"); err != nil {
			return err
		}
	}
	if _, err := runTool(dir, "rivera", "login", "--token-file", made.Token); err != nil {
		return err
	}
	if _, err := runTool(dir, "rivera", "publish", event); err != nil {
		return err
	}
	for _, p := range everybody[1:] {
		token := filepath.Join(dir, deployment+"-"+p+".token")
		if _, err := runTool(dir, "rivera", "--deployment", deployment, "operator", "invite", p, "--role", "release", "-o", token); err != nil {
			return err
		}
		if _, err := runTool(dir, p, "login", "--token-file", token); err != nil {
			return err
		}
	}
	return nil
}

// initEvent writes the init event of rivera's plan to path and returns its id. One that is good for less than
// the whole lifetime is made as if that had begun earlier.
func initEvent(dir, path string, days int) (id string, err error) {
	if days == lifetime {
		out, err := runTool(dir, "rivera", "init", "plan.yaml", "-o", path, "--json")
		if err != nil {
			return "", err
		}
		return regexp.MustCompile(`"id":"([0-9a-f]{64})"`).FindStringSubmatch(out)[1], nil
	}
	p, err := event.LoadPlan(filepath.Join(dir, "rivera", "plan.yaml"))
	if err != nil {
		return "", err
	}
	e, err := event.NewInit(p, event.Opening{Now: time.Now().AddDate(0, 0, days-lifetime)})
	if err != nil {
		return "", err
	}
	data, err := e.Bytes()
	if err != nil {
		return "", err
	}
	return e.ID(), os.WriteFile(path, data, 0o644)
}

// gather puts the plan and all public keys into rivera's folder.
func gather(dir, deployment, online string) error {
	to := filepath.Join(dir, "rivera")
	files := map[string]string{"online.pub": online}
	for _, p := range everybody {
		files[p+".pub"] = filepath.Join(dir, p, p+".pub")
	}
	for name, from := range files {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(to, "plan.yaml"), fmt.Appendf(nil, plan, deployment), 0o644)
}

// copyTree copies files with their modes. What is in to stays, except where names are the same.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, info.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode().Perm())
	})
}

// newPorts gives a copied server other ports, and tells it to everybody who knows the old ones; paths
// below from become paths below work.
func newPorts(from, work, server string) error {
	cfg, err := repository.LoadConfig(filepath.Join(server, repository.ConfigFile))
	if err != nil {
		return err
	}
	grpc, https, err := ports()
	if err != nil {
		return err
	}
	replace := strings.NewReplacer(cfg.GRPC, "localhost:"+grpc, cfg.HTTPS, "localhost:"+https, from, work)
	files := []string{filepath.Join(server, repository.ConfigFile)}
	for _, p := range everybody {
		files = append(files, filepath.Join(work, p, "countersign", "config.yaml"))
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(f, []byte(replace.Replace(string(data))), 0o600); err != nil {
			return err
		}
	}
	return nil
}

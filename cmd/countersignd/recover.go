package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
)

// recoverResult is the document of recover.
type recoverResult struct {
	Due      bool             `json:"due"`
	Done     bool             `json:"done"`
	Restored string           `json:"restored"`
	Roles    []recoverRole    `json:"roles"`
	Refused  []recoverRefused `json:"refused"`
	Tokens   int              `json:"void_tokens"`
	Events   []string         `json:"ended_events"`
	Subjects []recoverSubject `json:"subjects"`
	Missing  []string         `json:"missing"`
	Unsigned string           `json:"unsigned"`
	Revoked  []string         `json:"revoked"`
	Written  []string         `json:"tokens"`
	Entry    uint64           `json:"entry"`
	Snapshot int64            `json:"snapshot"`
	Time     int64            `json:"timestamp"`
}

type recoverRole struct {
	Repository string `json:"repository"`
	Role       string `json:"role"`
	Here       int64  `json:"here"`
	Newest     int64  `json:"newest"`
	From       string `json:"from"`
}

type recoverRefused struct {
	From    string `json:"from"`
	Role    string `json:"role"`
	Version int64  `json:"version"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

type recoverSubject struct {
	Name     string `json:"name"`
	Revoked  bool   `json:"revoked"`
	Enrolled string `json:"enrolled_at"`
}

func recoverCommand(p *tree.Program) *cobra.Command {
	var file string
	var revoke, invite []string
	c := &cobra.Command{
		Use:   "recover [FILE…] [--revoke WHO --invite ID --config FILE]",
		Short: "Bring a restored server up to what the field has seen; then it signs again.",
		Long: `It shows each role, the version here, and the newest that is known and from whom: tools show what they
saw when they meet a server that is behind, and event files given as FILE carry their base and, once their
quorum is complete, what they propose. Every file is verified from this server's own roots on. It asks
once; then, in one step: newer files are published, enrolment tokens are void, open events end, missing
images are marked, 16 versions and counters of each role but the roots are skipped, and snapshot and
timestamp are signed.

Who was revoked since the copy was made is not in it: name them, --revoke operator/ID or device/ID. An
operator whose connection key is newer than the copy gets a token by --invite ID; both also work where
there is nothing to recover.`,
		Example: `countersignd recover release-2.4.2.event --revoke operator/chen --invite rivera`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := repository.LoadConfig(file)
			if err != nil {
				return err
			}
			cfg.Log = logger(p.Out)
			cfg.Credentials = os.Getenv("CREDENTIALS_DIRECTORY")
			files, err := readEvents(args)
			if err != nil {
				return err
			}
			plan, err := repository.PlanRecovery(cmd.Context(), *cfg, files)
			if err != nil {
				return err
			}
			if !plan.GetDue() && len(revoke)+len(invite) == 0 {
				return p.Out.Result(resultOf(plan, nil, nil), func() {
					printRefused(p.Out, plan)
					p.Out.Line("nothing to recover: this server was not restored, and nobody has shown a newer file")
				})
			}
			p.Out.Line("%s", strings.TrimRight(recoveryText(cfg.Deployment, plan, revoke), "\n"))
			printRefused(p.Out, plan)
			if err := checkNames(plan, revoke, invite); err != nil {
				return err
			}
			if err := p.Ask.Ask(cmd.Context(), question(cfg.Deployment, plan, revoke, invite), "nothing was recovered", "--yes"); err != nil {
				return err
			}
			done, err := repository.Recover(cmd.Context(), *cfg, &repository.Recovery{Events: files, Plan: plan.GetId(), Revoke: revoke, Invite: invite})
			if err != nil {
				return err
			}
			return p.Out.Result(resultOf(plan, done, revoke), func() { printRecovered(p.Out, cfg.Deployment, done) })
		},
	}
	configFlag(c, &file)
	c.Flags().StringArrayVar(&revoke, "revoke", nil, "`WHO` was revoked since the copy: operator/ID or device/ID; may be repeated")
	c.Flags().StringArrayVar(&invite, "invite", nil, "write a token for the operator `ID` into the server's directory; may be repeated")
	return c
}

// readEvents reads the files of the arguments, bounded. What is in them is judged by the server.
func readEvents(paths []string) ([]*repository.EventFile, error) {
	var files []*repository.EventFile
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, cli.Usagef("%v", err)
		}
		data, err := io.ReadAll(io.LimitReader(f, repository.MaxEventFile+1))
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		if len(data) > repository.MaxEventFile {
			return nil, reason.Errorf(reason.TooLarge, "%s has more than %s", cli.Quote(path), cli.Bytes(repository.MaxEventFile))
		}
		files = append(files, &repository.EventFile{Name: filepath.Base(path), Event: data})
	}
	return files, nil
}

// checkNames refuses people whom the server does not know, before anything is asked.
func checkNames(plan *repository.RecoveryPlan, revoke, invite []string) error {
	known := map[string]bool{}
	for _, s := range plan.GetSubjects() {
		known[s.GetName()] = true
	}
	for _, name := range revoke {
		if !known[name] {
			return reason.Errorf(reason.NotFound, "--revoke %s: the server knows nobody of this name", cli.Quote(name))
		}
	}
	for _, id := range invite {
		if !known["operator/"+id] {
			return reason.Errorf(reason.NotFound, "--invite %s: the server knows no such operator", cli.Quote(id))
		}
	}
	return nil
}

// shownDevices is how many devices a person reads; all are in the JSON document.
const shownDevices = 20

// recoveryText shows what would be done.
func recoveryText(deployment string, plan *repository.RecoveryPlan, revoke []string) string {
	var b strings.Builder
	if !plan.GetDue() {
		return fmt.Sprintf("%s has nothing to recover; only people change", deployment)
	}
	if plan.GetRestored() != "" {
		fmt.Fprintf(&b, "%s was %s\n", deployment, cli.Safe(plan.GetRestored()))
	} else {
		fmt.Fprintf(&b, "%s was not restored by countersignd, and others have seen newer files\n", deployment)
	}
	if len(plan.GetRoles()) > 0 {
		fmt.Fprintf(&b, "%-28s %8s %8s   %s\n", "role", "here", "newest", "from")
	}
	for _, r := range plan.GetRoles() {
		from := "nobody has shown a newer one"
		if r.GetFrom() != "" {
			from = cli.Safe(r.GetFrom())
		}
		fmt.Fprintf(&b, "%-28s %8d %8d   %s\n", cli.Safe(r.GetRepository()+" "+r.GetRole()), r.GetHere(), r.GetNewest(), from)
	}
	for _, id := range plan.GetEvents() {
		fmt.Fprintf(&b, "ends      event %.12s, which is open here\n", id)
	}
	for _, m := range plan.GetMissing() {
		fmt.Fprintf(&b, "missing   %s: not offered until somebody uploads it\n", cli.Safe(m))
	}
	if plan.GetUnsigned() != "" {
		fmt.Fprintf(&b, "unsigned  snapshot and timestamp stay as they are: %s\n", cli.Safe(plan.GetUnsigned()))
	}
	fmt.Fprintf(&b, "known     %s\n", subjectsText(plan, "operator/", len(plan.GetSubjects())))
	fmt.Fprintf(&b, "          %s\n", subjectsText(plan, "device/", shownDevices))
	if len(revoke) == 0 {
		b.WriteString("          who of them was revoked since the copy? none is named by --revoke\n")
	}
	return b.String()
}

// subjectsText lists who is known and not revoked, at most limit of them by name.
func subjectsText(plan *repository.RecoveryPlan, kind string, limit int) string {
	var names []string
	for _, s := range plan.GetSubjects() {
		if strings.HasPrefix(s.GetName(), kind) && !s.GetRevoked() {
			names = append(names, cli.Safe(s.GetName()))
		}
	}
	if len(names) == 0 {
		return "no " + strings.TrimSuffix(kind, "/")
	}
	if more := len(names) - limit; more > 0 {
		return fmt.Sprintf("%s and %d more (--json)", strings.Join(names[:limit], ", "), more)
	}
	return strings.Join(names, ", ")
}

func question(deployment string, plan *repository.RecoveryPlan, revoke, invite []string) string {
	taken := 0
	for _, r := range plan.GetRoles() {
		if r.GetNewest() > r.GetHere() {
			taken++
		}
	}
	who := "nobody"
	if len(revoke) > 0 {
		who = strings.Join(revoke, ", ")
	}
	if !plan.GetDue() {
		text := fmt.Sprintf("Change people of %s: revoke %s", deployment, cli.Safe(who))
		if len(invite) > 0 {
			text += ", make a token for " + cli.Safe(strings.Join(invite, ", "))
		}
		return text + "?"
	}
	text := fmt.Sprintf("Recover %s: take newer files of %d roles, void %d tokens, end %d events, skip 16 versions of each role, revoke %s",
		deployment, taken, plan.GetTokens(), len(plan.GetEvents()), cli.Safe(who))
	if len(invite) > 0 {
		text += ", make a token for " + cli.Safe(strings.Join(invite, ", "))
	}
	return text + "?"
}

func printRefused(out *cli.Output, plan *repository.RecoveryPlan) {
	for _, f := range plan.GetRefused() {
		what := cli.Safe(f.GetFrom())
		if f.GetRole() != "" {
			what += ", " + cli.Safe(fmt.Sprintf("%s %s %d", f.GetRepository(), f.GetRole(), f.GetVersion()))
		}
		out.Warn("not taken: %s: %s [%s]", what, cli.Safe(f.GetMessage()), cli.Safe(f.GetReason()))
	}
}

func printRecovered(out *cli.Output, deployment string, done *repository.Recovered) {
	switch {
	case !done.GetDone().GetDue():
		out.Line("changed people of %s, audit entry %d", deployment, done.GetEntry())
	case done.GetSnapshot() == 0 && done.GetDone().GetUnsigned() == "":
		out.Line("recovered %s, audit entry %d; it has no roots yet, so nothing is signed", deployment, done.GetEntry())
	case done.GetSnapshot() == 0:
		out.Line("recovered %s, audit entry %d; snapshot and timestamp are not signed", deployment, done.GetEntry())
		out.Hint("have a root signed that names this server's keys: countersign change PLAN, with its online.pub")
	default:
		out.Line("recovered %s, audit entry %d: signing goes on with snapshot %d, timestamp %d", deployment, done.GetEntry(), done.GetSnapshot(), done.GetTimestamp())
	}
	for _, path := range done.GetTokens() {
		out.Line("wrote %s, good for 7 days", cli.Safe(path))
	}
}

func resultOf(plan *repository.RecoveryPlan, done *repository.Recovered, revoked []string) recoverResult {
	r := recoverResult{
		Due: plan.GetDue(), Done: done != nil, Restored: plan.GetRestored(), Tokens: int(plan.GetTokens()), Unsigned: plan.GetUnsigned(),
		Roles: []recoverRole{}, Refused: []recoverRefused{}, Subjects: []recoverSubject{}, Events: orEmpty(plan.GetEvents()),
		Missing: orEmpty(plan.GetMissing()), Revoked: orEmpty(revoked), Written: orEmpty(done.GetTokens()),
		Entry: done.GetEntry(), Snapshot: done.GetSnapshot(), Time: done.GetTimestamp(),
	}
	for _, l := range plan.GetRoles() {
		r.Roles = append(r.Roles, recoverRole{l.GetRepository(), l.GetRole(), l.GetHere(), l.GetNewest(), l.GetFrom()})
	}
	for _, f := range plan.GetRefused() {
		r.Refused = append(r.Refused, recoverRefused{f.GetFrom(), f.GetRepository() + "/" + f.GetRole(), f.GetVersion(), f.GetReason(), f.GetMessage()})
	}
	for _, s := range plan.GetSubjects() {
		enrolled := ""
		if s.GetEnrolledAt() > 0 {
			enrolled = time.Unix(s.GetEnrolledAt(), 0).UTC().Format(time.RFC3339)
		}
		r.Subjects = append(r.Subjects, recoverSubject{s.GetName(), s.GetRevoked(), enrolled})
	}
	return r
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

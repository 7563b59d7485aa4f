package agent

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Once does one cycle: check, stage, install. It returns the update that it carried out, nil when
// there was nothing to do. Status says whether a reboot is needed now.
func (a *Agent) Once(ctx context.Context, progress Progress) (*Update, error) {
	u, err := a.Check(ctx)
	if u == nil || err != nil {
		return nil, err
	}
	if err := a.Stage(ctx, u, progress); err != nil {
		return u, err
	}
	return u, a.Install(ctx, u)
}

// Run does a cycle every Config.Interval, for ever. What a cycle refuses is logged once and asked
// again at the next. It returns nil when ctx ends, ErrReboot when only a reboot takes the update
// further, and an error when the agent's own directory or installer fails.
func (a *Agent) Run(ctx context.Context) error {
	interval := a.cfg.Interval
	if interval == 0 {
		interval = DefaultInterval
	}
	var last string
	for {
		u, err := a.Once(ctx, nil)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the cycle was cut off by the caller; the next Open takes it up
		}
		if s := a.Status(); s.Update != nil && s.Update.Reboot {
			return ErrReboot
		}
		if err := a.report(u, err, &last); err != nil {
			return err
		}
		// A tenth of jitter, always late, so that a fleet which came up together spreads out and no
		// interval becomes shorter than the configured one.
		timer := time.NewTimer(interval + rand.N(interval/10+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// report logs the outcome of a cycle, a repeated one only once, and returns what Run must end with.
func (a *Agent) report(u *Update, err error, last *string) error {
	if err == nil {
		if u != nil {
			a.log.Info("installed", "target", u.String())
		}
		*last = ""
		return nil
	}
	switch r := reason.Of(err); {
	case r == reason.StateDamaged || r == reason.StateLost:
		return err
	case err.Error() == *last:
	case r.Class() == reason.NotAuthentic:
		a.log.Error("refused", "err", err, "reason", r)
	default:
		a.log.Warn("not installed", "err", err, "reason", r)
	}
	*last = err.Error()
	return nil
}

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// What expires, and who must act, in one line.
func TestExpiryText(t *testing.T) {
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	id := strings.Repeat("d7", 32)
	for _, tt := range []struct {
		line expiryLine
		want string
	}{
		{
			expiryLine{Repository: "image", Role: "pump-9", Event: id, at: now.AddDate(0, 0, 41), need: "engineering 1 + quality 1"},
			"pump-9 in 41 d: engineering 1 + quality 1 must sign d7d7d7d7d7d7",
		},
		{
			expiryLine{Repository: "director", Role: "root", at: now.Add(20 * time.Hour), need: "holder 2"},
			"director root in 20 h: holder 2 must sign it anew",
		},
		{
			expiryLine{Repository: "image", Role: "targets", at: now.AddDate(0, 0, -3), need: "holder 2"},
			"targets was 3 d ago: holder 2 must sign it anew",
		},
		{
			expiryLine{Repository: "image", Role: "pump-9.bin-1f", Bins: 1, at: now.AddDate(0, 0, 9), need: "quality 1"},
			"pump-9.bin-1f in 9 d: quality 1 must sign it anew",
		},
		{
			expiryLine{Repository: "image", Role: "pump-9.bin-1f", Bins: 12, at: now.AddDate(0, 0, 9), need: "quality 1"},
			"pump-9.bin-1f and 11 more bins in 9 d: quality 1 must sign it anew",
		},
	} {
		if got := tt.line.text(now); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// The server is late when it missed what it does each day, and not while it only stopped for an hour.
func TestLateOnlineRoles(t *testing.T) {
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, tt := range []struct {
		role string
		left time.Duration
		want string
	}{
		{metadata.Timestamp, 7 * day, ""},
		{metadata.Timestamp, 6*day - time.Hour, ""},
		{metadata.Timestamp, 6*day - 3*time.Hour, "server         timestamp in 5 d: the server must sign it anew, and is late"},
		{metadata.Timestamp, -3 * time.Hour, "server         timestamp was 3 h ago: the server must sign it anew, and is late"},
		{metadata.Snapshot, 15*day - time.Hour, ""},
		{metadata.Snapshot, 14 * day, "server         snapshot in 14 d: the server must sign it anew, and is late"},
	} {
		doc := statusDoc{Online: []onlineLine{newOnlineLine(tt.role, 1, now.Add(tt.left), now)}}
		if got := strings.Join(doc.serverLines(now), "\n"); got != tt.want {
			t.Errorf("%s, %s left: %q, want %q", tt.role, tt.left, got, tt.want)
		}
	}
}

// The server's words about itself pass the printing function.
func TestServerWords(t *testing.T) {
	doc := statusDoc{Unwell: &unwellLine{"recover-first", "a copy\x1b[2J", "on the server: countersignd recover"}}
	want := "server         is not well: a copy\\u{1b}[2J [recover-first]; what is published is served on\n               on the server: countersignd recover"
	if got := strings.Join(doc.serverLines(time.Now()), "\n"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

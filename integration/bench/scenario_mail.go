package main

import (
	"context"
	"fmt"
)

// mails sends mails over STARTTLS with a login, without any queue.
type mails struct{ far bool } // far: on a line with a round trip of 10 ms

func (m mails) name() string {
	if m.far {
		return "mail-far"
	}
	return "mail"
}

// what is how the table calls it.
func (m mails) what() string {
	if m.far {
		return "STARTTLS mails, round trip 10 ms,"
	}
	return "STARTTLS mails,"
}

// mailSides are the senders, and how many mails each can send in a few seconds.
func (m mails) senders() []sender {
	if m.far {
		return []sender{{"sealpost-mail", 4000}, {"go-mail-dial", 500}, {"go-mail-kept", 1500}, {"nodemailer", 2000}}
	}
	return []sender{{"sealpost-mail", 10_000}, {"go-mail-dial", 1000}, {"go-mail-kept", 10_000}, {"nodemailer", 3000}}
}

type sender struct {
	name  string
	mails int
}

func (m mails) connections() []int {
	if m.far {
		return []int{50}
	}
	return []int{10, 50}
}

func (m mails) open(ctx context.Context, w *world) ([]side, error) {
	sink, to, err := w.mailSink(ctx)
	if err != nil {
		return nil, err
	}
	if m.far {
		line, err := w.goSide("far")
		if err != nil {
			return nil, err
		}
		a, err := line.call(ctx, request{Op: "start", Mail: to})
		if err != nil {
			return nil, err
		}
		to = a.Mail
	}
	var sides []side
	for _, s := range m.senders() {
		for _, n := range w.sizes(m.connections()) {
			var p *process
			why := ""
			if s.name == "nodemailer" {
				p, why, err = w.nodeSide(ctx, "nodemailer.mjs")
			} else {
				p, err = w.goSide(s.name)
			}
			if err != nil {
				return nil, err
			}
			r := request{Op: "mails", Mail: to, Concurrency: n, Jobs: w.some(s.mails), Payload: peerMail()}
			sides = append(sides, side{name: fmt.Sprintf("%s at %d", s.name, n), skip: why, turn: sent(p, sink, r)})
		}
	}
	return sides, nil
}

// mailSink starts the mail server.
func (w *world) mailSink(ctx context.Context) (*process, *mailbox, error) {
	p, err := w.goSide("mail-sink")
	if err != nil {
		return nil, nil, err
	}
	a, err := p.call(ctx, request{Op: "start"})
	return p, a.Mail, err
}

// sent has a side send, and measures it and the sink. Before that it sends a few
// mails for each connection, so that those who keep connections have them.
func sent(p, sink *process, r request) func(context.Context) (figures, error) {
	return func(ctx context.Context) (figures, error) {
		first := r
		first.Jobs = 4 * r.Concurrency
		if _, err := sink.call(ctx, request{Op: "expect", Jobs: first.Jobs}); err != nil {
			return nil, err
		}
		if _, err := p.call(ctx, first); err != nil {
			return nil, err
		}
		before, err := sink.call(ctx, request{Op: "expect", Jobs: r.Jobs})
		if err != nil {
			return nil, err
		}
		a, err := p.call(ctx, r)
		if err != nil {
			return nil, err
		}
		after, err := sink.call(ctx, request{Op: "await"}) // all are there, or it would wait
		if err != nil {
			return nil, err
		}
		n := float64(r.Jobs)
		return figures{rate: n / a.Seconds, client: a.CPU * 1e6 / n, server: (after.Total - before.Total) * 1e6 / n, memory: a.RSS}, nil
	}
}

func (m mails) rows(r results) []row {
	if m.far {
		return []row{
			r.compare(m.what()+" 50 connections", rate, "sealpost-mail at 50", "nodemailer", goal{is: 3}),
			r.compare(m.what()+" 50 connections", rate, "sealpost-mail at 50", "go-mail-kept", goal{}),
			r.compare(m.what()+" 50 connections", rate, "sealpost-mail at 50", "go-mail-dial", goal{}),
		}
	}
	var rows []row
	for _, n := range m.connections() {
		what, ours := fmt.Sprintf("%s %d connections", m.what(), n), fmt.Sprintf("sealpost-mail at %d", n)
		if r.of[ours] == nil {
			continue // a short run
		}
		at := fmt.Sprintf(" at %d", n)
		rows = append(rows,
			r.compare(what, rate, ours, "go-mail-dial"+at, goal{is: 12}),
			r.compare(what, rate, ours, "go-mail-kept"+at, goal{is: 1.8}),
			r.compare(what, rate, ours, "nodemailer"+at, goal{is: 7}))
	}
	return rows
}

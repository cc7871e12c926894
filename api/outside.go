package api

import (
	"context"
	"errors"
	"strconv"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
)

// The refusals of Outside. keystore.ErrNotFound is another.
var (
	// ErrNotDead: the message is still being delivered.
	ErrNotDead = errors.New("the message is not a dead letter")
	// ErrNoReason: an operator's decision needs one.
	ErrNoReason = errors.New("no reason given")
	// ErrOutside: the system outside did not do its part.
	ErrOutside = errors.New("the outside system did not answer as agreed")
)

// Outside is what an operator sees and decides of the messages to and from the systems outside. A repeated request changes nothing.
type Outside interface {
	Systems(ctx context.Context) []OutsideSystem
	Messages(ctx context.Context, queue, state, cursor string, limit int) (all []OutboxMessage, next string, err error)
	Redeliver(ctx context.Context, req *keystore.Request, by audit.Actor, id string) error
	Discard(ctx context.Context, req *keystore.Request, by audit.Actor, id, why string) error
	Held(ctx context.Context, feed, cursor string, limit int) (all []HeldMessage, next string, err error)
	Retry(ctx context.Context, req *keystore.Request, by audit.Actor, feed string, seq uint64) error
	Drop(ctx context.Context, req *keystore.Request, by audit.Actor, feed string, seq uint64, why string) error
}

// OutsideSystem is a queue of messages to, or a feed of messages from, a system outside.
type OutsideSystem struct {
	Queue     string `json:"queue,omitempty"`
	Feed      string `json:"feed,omitempty"`
	Waiting   int64  `json:"waiting,omitempty" doc:"messages to be delivered"`
	Dead      int64  `json:"dead,omitempty" doc:"dead letters: an operator decides"`
	Delivered uint64 `json:"delivered,omitempty" doc:"since the start"`
	Failed    uint64 `json:"failed,omitempty" doc:"tries, since the start"`
	Down      bool   `json:"down,omitempty"`
	Last      uint64 `json:"last,omitempty" doc:"number of the last message read"`
	Held      int64  `json:"held,omitempty" doc:"messages that could not be taken"`
	Stopped   string `json:"stopped,omitempty" doc:"why the last round did not come to the end"`
}

// OutboxMessage is a message on its way out, without its body.
type OutboxMessage struct {
	ID      string    `json:"id"`
	Queue   string    `json:"queue"`
	Entity  string    `json:"entity"`
	Kind    string    `json:"kind"`
	State   string    `json:"state" enum:"waiting,dead"`
	Behind  bool      `json:"behind,omitempty" doc:"another message about the same entity comes first"`
	Created time.Time `json:"created"`
	Due     time.Time `json:"due"`
	Tries   int       `json:"tries"`
	Last    string    `json:"last,omitempty" doc:"how the last try failed"`
}

// HeldMessage is a message of a feed that could not be taken, without its content.
type HeldMessage struct {
	Feed   string    `json:"feed"`
	Seq    uint64    `json:"seq"`
	Entity string    `json:"entity,omitempty"`
	At     time.Time `json:"at,omitzero" doc:"by its source's clock"`
	Since  time.Time `json:"since"`
	Tried  time.Time `json:"tried"`
	Again  bool      `json:"again,omitempty" doc:"tried again by itself"`
	Why    string    `json:"why"`
}

func (s *Server) outside() {
	route(s, "GET", "/v1/outside", "list-outside-systems", "outside", "The queues to and the feeds from the systems outside", s.outsideSystems)
	route(s, "GET", "/v1/outbox/{queue}", "list-outbox", "outside", "Messages on their way out, the oldest first", s.listOutbox)
	route(s, "POST", "/v1/outbox-messages/{id}/redeliver", "redeliver-message", "outside", "Send a dead letter again", s.redeliver)
	route(s, "POST", "/v1/outbox-messages/{id}/discard", "discard-message", "outside", "Give a dead letter up; what stands behind it moves up", s.discard)
	route(s, "GET", "/v1/feeds/{feed}/held", "list-held", "outside", "Messages of a feed that could not be taken", s.listHeld)
	route(s, "POST", "/v1/feeds/{feed}/held/{seq}/retry", "retry-held", "outside", "Try a held message again; the list says whether it was taken", s.retryHeld)
	route(s, "POST", "/v1/feeds/{feed}/held/{seq}/drop", "drop-held", "outside", "Give a held message up; what waited behind it is tried", s.dropHeld)
}

func (s *Server) outsideSystems(ctx context.Context, in *struct{ Caller }) (page[OutsideSystem], error) {
	if err := s.allow(in.Caller, access.OutboxRead); err != nil {
		return page[OutsideSystem]{}, err
	}
	return paged(s.use.Outside.Systems(ctx), ""), nil
}

type outboxInput struct {
	Caller
	Paged
	Queue string `path:"queue" maxLength:"32"`
	State string `query:"state" enum:"waiting,dead" default:"dead"`
}

func (s *Server) listOutbox(ctx context.Context, in *outboxInput) (page[OutboxMessage], error) {
	if err := s.allow(in.Caller, access.OutboxRead); err != nil {
		return page[OutboxMessage]{}, err
	}
	all, next, err := s.use.Outside.Messages(ctx, in.Queue, in.State, in.Cursor, in.Limit)
	return paged(all, next), err
}

type redeliverInput struct {
	Keyed
	ID   string `path:"id" maxLength:"64" pattern:"^[0-9a-f]+$"`
	Body struct{}
}

// done answers an act that leaves nothing to show.
type done struct {
	Done bool `json:"done"`
}

func (s *Server) redeliver(ctx context.Context, in *redeliverInput) (done, error) {
	if err := s.allow(in.Caller, access.OutboxOperate); err != nil {
		return done{}, err
	}
	err := s.use.Outside.Redeliver(ctx, in.request("POST", "/v1/outbox-messages/"+in.ID+"/redeliver"), in.actor.Audit(), in.ID)
	return done{err == nil}, err
}

type reasonBody struct {
	Reason string `json:"reason" minLength:"1" maxLength:"256"`
}

type discardInput struct {
	Keyed
	ID   string `path:"id" maxLength:"64" pattern:"^[0-9a-f]+$"`
	Body reasonBody
}

func (s *Server) discard(ctx context.Context, in *discardInput) (done, error) {
	if err := s.allow(in.Caller, access.OutboxOperate); err != nil {
		return done{}, err
	}
	err := s.use.Outside.Discard(ctx, in.request("POST", "/v1/outbox-messages/"+in.ID+"/discard"), in.actor.Audit(), in.ID, in.Body.Reason)
	return done{err == nil}, err
}

type heldInput struct {
	Caller
	Paged
	Feed string `path:"feed" maxLength:"32"`
}

func (s *Server) listHeld(ctx context.Context, in *heldInput) (page[HeldMessage], error) {
	if err := s.allow(in.Caller, access.OutboxRead); err != nil {
		return page[HeldMessage]{}, err
	}
	all, next, err := s.use.Outside.Held(ctx, in.Feed, in.Cursor, in.Limit)
	return paged(all, next), err
}

type retryInput struct {
	Keyed
	Feed string `path:"feed" maxLength:"32"`
	Seq  uint64 `path:"seq" minimum:"1"`
	Body struct{}
}

func (s *Server) retryHeld(ctx context.Context, in *retryInput) (done, error) {
	if err := s.allow(in.Caller, access.OutboxOperate); err != nil {
		return done{}, err
	}
	err := s.use.Outside.Retry(ctx, in.request("POST", heldPath(in.Feed, in.Seq)+"/retry"), in.actor.Audit(), in.Feed, in.Seq)
	return done{err == nil}, err
}

type dropInput struct {
	Keyed
	Feed string `path:"feed" maxLength:"32"`
	Seq  uint64 `path:"seq" minimum:"1"`
	Body reasonBody
}

func (s *Server) dropHeld(ctx context.Context, in *dropInput) (done, error) {
	if err := s.allow(in.Caller, access.OutboxOperate); err != nil {
		return done{}, err
	}
	err := s.use.Outside.Drop(ctx, in.request("POST", heldPath(in.Feed, in.Seq)+"/drop"), in.actor.Audit(), in.Feed, in.Seq, in.Body.Reason)
	return done{err == nil}, err
}

func heldPath(feed string, seq uint64) string {
	return "/v1/feeds/" + feed + "/held/" + strconv.FormatUint(seq, 10)
}

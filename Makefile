# What a developer does; `make help` lists it. Missing system packages are installed (scripts/need).
MAKEFLAGS += --no-print-directory
export SQLX_OFFLINE = true
.PHONY: help test sandbox prepare check-prepare need

help: ## List what make can do here
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 22

test: need ## Run all tests, on a Postgres server made for them alone
	scripts/with-postgres cargo test --workspace --locked

sandbox: need ## Talk to the bot in the terminal, on a local Discord (ARGS="--data DIR")
	@cargo build --quiet --locked --example sandbox </dev/null
	@"$$(scripts/target)/debug/examples/sandbox" $(ARGS)

prepare: need ## Refresh .sqlx after a change of a query or a migration
	scripts/prepare

check-prepare: need ## Fail when .sqlx is not what make prepare would write
	scripts/prepare --check

need:
	@scripts/need

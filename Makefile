# What a newcomer types. Each target installs what it misses, says what it does, and is quick when nothing is missing.

.PHONY: help run test soak lint fmt bench bench-distribution bench-portal bench-peers fuzz sqlx kernels

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build and start the portal on http://127.0.0.1:8080
	@exec bash deploy/dev/run.sh

test: ## every check and every test, the browser's among them
	@exec bash deploy/dev/test.sh

soak: ## the long form of the hardest tests: 100 kills of a pull and of a publication with either store, 10,000 flipped bits, 10,000 races and 1,000 sequences at the desk
	@exec bash deploy/dev/soak.sh

lint: ## format, clippy, licences, shell scripts
	@exec bash deploy/dev/lint.sh

fmt: ## format the sources
	@exec bash deploy/dev/fmt.sh

bench: ## how files are served and models run on this machine, beside nginx and the memory
	@exec bash deploy/dev/bench.sh

bench-distribution: ## publishing and downloading 4 GB beside cp, weed and nginx; PARTS="digests publish redirects slow serve pull"
	@exec bash deploy/bench/distribution.sh $(PARTS)

bench-portal: ## the record: events recorded, signed and proven; the desk with 100,000 applications
	@bash deploy/bench/record.sh
	@bash deploy/bench/desk.sh

bench-peers: ## the engine beside PyTorch, vLLM, OpenVINO, ONNX Runtime and CTranslate2; installs 20 GB
	@exec bash deploy/bench/peers.sh

fuzz: ## hostile files and requests for the engine, SECONDS=120 for each kind; make test replays what was found
	@exec bash deploy/dev/fuzz.sh $(SECONDS)

sqlx: ## write .sqlx anew, after a query or a migration has changed
	@exec bash deploy/dev/sqlx.sh

kernels: ## compile the CUDA kernels again, after a change to them, and tell what each costs; needs no GPU
	@exec bash deploy/dev/kernels.sh

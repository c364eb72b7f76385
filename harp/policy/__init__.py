"""The policy: a Prismatic vision-language-action model over HARP-VE (paper §3.3, §3.4, A.3)."""

"""codedpo: preference data that a code model generated and verified itself (CodeDPO, arXiv 2410.05605)."""

__version__ = "0.1.0"

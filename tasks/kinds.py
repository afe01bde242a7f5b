"""The kinds of artifacts that stages take and return, for the type checker alone. At run time all are Artifact."""

from __future__ import annotations

from typing import NewType

from tasks.artifacts import Artifact

SimulatedLog = NewType("SimulatedLog", Artifact)  # a simulated world's log, and its truth
Log = NewType("Log", Artifact)  # the extracted tables
Partition = NewType("Partition", Artifact)  # a raw file of a table that grows by the day
EvalSet = NewType("EvalSet", Artifact)  # the sampled searches of a part, their targets, the documents alive
GraphVectors = NewType("GraphVectors", Artifact)  # a vector of every searcher and document
EncodedShare = NewType("EncodedShare", Artifact)  # the texts of a log that one task encoded
TextVectors = NewType("TextVectors", Artifact)  # a vector of every query and document
ExtraColumns = NewType("ExtraColumns", Artifact)  # columns of the log that no layout knows
OwnColumns = NewType("OwnColumns", Artifact)  # such columns of one side, typed, for conditions, results and slices
Places = NewType("Places", Artifact)  # where searches and documents are
OwnSlices = NewType("OwnSlices", Artifact)  # the slices of an EvalSet by the user's own columns
FeatureSet = NewType("FeatureSet", Artifact)  # the inputs of towers
StartTable = NewType("StartTable", Artifact)  # the vectors at which an n-gram table starts to learn
TrainedTowers = NewType("TrainedTowers", Artifact)
MinedNegatives = NewType("MinedNegatives", Artifact)
UnratedResults = NewType("UnratedResults", Artifact)  # retrieved results that nobody has judged
RatedResults = NewType("RatedResults", Artifact)  # ratings of retrieved results
Vectors = NewType("Vectors", Artifact)  # of every document, and of the searches of an EvalSet
EnsembleWeights = NewType("EnsembleWeights", Artifact)
BuiltIndex = NewType("BuiltIndex", Artifact)
CalibratedRadius = NewType("CalibratedRadius", Artifact)
RankedList = NewType("RankedList", Artifact)  # a ranked list of the user, matched with the log
TunedBm25 = NewType("TunedBm25", Artifact)  # the language and parameters of BM25
RetrievedList = NewType("RetrievedList", Artifact)
TermLists = NewType("TermLists", Artifact)  # the lists of BM25 for the searches of an EvalSet
ChosenFusion = NewType("ChosenFusion", Artifact)  # the weights of terms and embedding
ServedMode = NewType("ServedMode", Artifact)  # the mode of a model that wins on the validation
ExaminationRates = NewType("ExaminationRates", Artifact)  # how likely a position is examined
TrainedRanker = NewType("TrainedRanker", Artifact)
FittedFilter = NewType("FittedFilter", Artifact)
TargetRanks = NewType("TargetRanks", Artifact)  # the rank of every target by exact search
BundleTables = NewType("BundleTables", Artifact)  # the content that all bundles of a log share
ModelBundle = NewType("ModelBundle", Artifact)
DayRecall = NewType("DayRecall", Artifact)  # recall of the newest day's searches
RunResults = NewType("RunResults", Artifact)
RunAudit = NewType("RunAudit", Artifact)
RunReport = NewType("RunReport", Artifact)
